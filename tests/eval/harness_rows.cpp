// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/harness_rows.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>

#include "corda/core/text.h"
#include "data/byte_source.h"
#include "eval/task_text.h"

namespace corda::testing {

namespace fs = std::filesystem;
using core::Json;

namespace {

std::string content_of(const fs::path& path) {
  const auto source = data::unpack_if_compressed(data::open_file(path), path.string());
  std::string text;
  std::array<char, 65536> buffer;
  while (const std::size_t count = source->read(buffer.data(), buffer.size()))
    text.append(buffer.data(), count);
  return text;
}

// Reads a JSON list, or JSON with an object a line.
std::vector<Json> records_of(const fs::path& path) {
  const std::string text = content_of(path);
  if (text[text.find_first_not_of(" \n")] == '[') return Json::parse(text).get<std::vector<Json>>();
  std::vector<Json> records;
  for (const std::string& line : core::split(text, '\n')) {
    if (!line.empty()) records.push_back(Json::parse(line));
  }
  return records;
}

// The documents of a file of requests, each once.
std::vector<Json> documents(const fs::path& datasets, const std::string& name) {
  std::vector<Json> found;
  Json last;
  for (const Json& request : records_of(datasets / "multiple_choice" / name)) {
    if (request.at("doc_id") != last) found.push_back(request.at("doc"));
    last = request.at("doc_id");
  }
  return found;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  if (!text.starts_with(begin) || !text.ends_with(end)) throw std::runtime_error(text);
  return text.substr(begin.size(), text.size() - begin.size() - end.size());
}

Json lettered(const Json& doc, const std::string& key) {
  std::vector<std::string> labels;
  for (std::size_t i = 0; i < doc.at("choices").size(); ++i)
    labels.emplace_back(1, static_cast<char>('A' + i));
  return {{key, between(doc.at("query"), "Question: ", "\nAnswer:")},
          {"choices", {{"text", doc.at("choices")}, {"label", labels}}},
          {"answerKey", labels[doc.at("gold").get<std::size_t>()]}};
}

Json hellaswag(const Json& doc) {
  const std::string query = doc.at("query");
  const std::size_t colon = query.find(": ");
  const std::string text = query.substr(colon + 2);
  const std::size_t cut = text.rfind(". ");
  const bool two = cut != std::string::npos;
  return {{"activity_label", query.substr(0, colon)},
          {"ctx_a", two ? text.substr(0, cut + 1) : text},
          {"ctx_b", two ? text.substr(cut + 2) : ""},
          {"endings", doc.at("choices")},
          {"label", std::to_string(doc.at("gold").get<int>())}};
}

Json boolq(const Json& doc) {
  const std::string query = doc.at("query");
  const std::size_t at = query.rfind("\nQuestion: ");
  const bool yes = doc.at("choices").at(doc.at("gold").get<std::size_t>()) == "yes";
  return {{"passage", query.substr(0, at)},
          {"question", between(query.substr(at + 11), "", "?\nAnswer:")},
          {"label", yes ? 1 : 0}};
}

Json mmlu_question(const std::string& text, const std::string& subject, std::int64_t answer) {
  Json row = {{"question", text.substr(0, text.find("\n("))}, {"subject", subject}};
  std::vector<std::string> options;
  for (std::size_t at = text.find("\n("); at != std::string::npos;) {
    const std::size_t next = text.find("\n(", at + 1);
    options.push_back(text.substr(at + 5, next == std::string::npos ? next : next - at - 5));
    at = next;
  }
  row["choices"] = options;
  row["answer"] = answer;
  return row;
}

std::vector<std::string> split_at(const std::string& text, const std::string& mark) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, begin)) {
    parts.push_back(text.substr(begin, at - begin));
    begin = at + mark.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<Json> mmlu(const fs::path& datasets, bool examples) {
  const std::set<std::string> subjects = {"high_school_macroeconomics", "professional_law"};
  const Json root =
      Json::parse(content_of(datasets / "multiple_choice" / "gemma_cpp_mmlu.json.gz"));
  std::vector<Json> rows;
  std::set<std::string> seen;
  for (const Json& sample : root.at("samples")) {
    const std::string subject = sample.at("topic");
    if (!subjects.contains(subject)) continue;
    const auto parts = split_at(sample.at("prompt"), "\n\nAnswer:");
    std::vector<std::string> questions = {parts[0].substr(parts[0].find("\n\n") + 2)};
    std::vector<std::int64_t> answers;
    for (std::size_t i = 1; i + 1 < parts.size(); ++i) {
      questions.push_back(parts[i].substr(4));
      answers.push_back(parts[i][1] - 'A');
    }
    if (!examples) {
      rows.push_back(mmlu_question(questions.back(), subject, sample.at("input_label")));
    } else if (!seen.contains(subject)) {
      for (std::size_t i = 0; i + 1 < questions.size(); ++i)
        rows.push_back(mmlu_question(questions[i], subject, answers[i]));
    }
    seen.insert(subject);
  }
  return rows;
}

Json columns(const Json& doc, const std::vector<std::string>& names) {
  Json row = Json::object();
  for (const std::string& name : names) row[name] = doc.at(name);
  return row;
}

using Make = std::function<Json(const Json&)>;

std::vector<Json> made(std::vector<Json> documents, const Make& make) {
  for (Json& document : documents) document = make(document);
  return documents;
}

}  // namespace

std::vector<Json> harness_rows(const fs::path& datasets, const std::string& task, bool examples) {
  const auto letters = [](const char* key) {
    return [key](const Json& doc) { return lettered(doc, key); };
  };
  const auto these = [](std::vector<std::string> names) {
    return [names = std::move(names)](const Json& doc) { return columns(doc, names); };
  };
  const std::map<std::string, std::pair<std::string, Make>> requests = {
      {"arc_easy", {"arc_easy.rc_0shot", letters("question")}},
      {"arc_challenge", {"arc_challenge.rc_0shot", letters("question")}},
      {"openbookqa", {"openbookqa.rc_0shot", letters("question_stem")}},
      {"hellaswag", {"hellaswag.rc_5shot", hellaswag}},
      {"boolq", {"boolq.rc_5shot", boolq}},
      {"piqa", {"piqa.rc_0shot", these({"goal", "sol1", "sol2", "label"})}},
      {"sciq",
       {"sciq.rc_0shot", these({"question", "distractor1", "distractor2", "distractor3",
                                "correct_answer", "support"})}},
      {"winogrande", {"winogrande.rc_0shot", these({"sentence", "option1", "option2", "answer"})}}};
  const auto found = requests.find(task);
  if (found != requests.end()) {
    return made(documents(datasets, found->second.first + ".requests.jsonl.gz"),
                found->second.second);
  }
  if (task == "mmlu") return mmlu(datasets, examples);
  if (task == "nq_open") return records_of(datasets / "nq_open/NQ-open.dev.jsonl.gz");
  if (task == "gsm8k") return records_of(datasets / "gsm8k/test.jsonl.gz");
  if (task == "triviaqa") {
    return made(records_of(datasets / "triviaqa/triviaqa.dev.jsonl.gz"), [](const Json& doc) {
      return Json{{"question", doc.at("question")}, {"answer", {{"aliases", doc.at("answer")}}}};
    });
  }
  if (task == "webqs") {
    return made(records_of(datasets / "webquestions/test.json.gz"), [](const Json& doc) {
      return Json{{"question", doc.at("qText")}, {"answers", doc.at("answers")}};
    });
  }
  std::vector<Json> pages;
  for (const std::string& page :
       eval::wikitext_pages(content_of(datasets / "text/wikitext-2.test.txt.gz")))
    pages.push_back({{"page", page}});
  return pages;
}

}  // namespace corda::testing
