// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/task.h"

#include <algorithm>

#include "corda/core/error.h"
#include "corda/eval/eval.h"
#include "eval/task_text.h"

namespace corda::eval {

namespace {

const std::vector<std::string> kNorm = {"acc", "acc_norm"};
const std::vector<std::string> kQuestionStops = {"\n", ".", ","};

Task arc(const char* name) {
  return {.name = name,
          .columns = {"question", "choices", "answerKey"},
          .prompt = "Question: {{ question }}\nAnswer:",
          .choices = "{{ choices.text | tojson }}",
          .target = "{{ choices.label.index(answerKey) }}",
          .metrics = kNorm};
}

// What the harness and the paper's authors ask about GSM8K's questions.
Task gsm8k() {
  const std::vector<std::string> ignored = {",", "\\$", "[\\s\\S]*#### ", "\\.(?=\\n?\\z)"};
  return {.name = "gsm8k",
          .kind = TaskKind::kAnswers,
          .columns = {"question", "answer"},
          .prompt = "Question: {{ question }}\nAnswer:",
          .target = "{{ [answer] | tojson }}",
          .shots = 5,
          .metrics = {},
          .rules = {{.metric = "exact_match,strict-match",
                     .extract = "(?<=#### )-?[0-9.,]+",
                     .ignored = ignored,
                     .ignores_case = true},
                    {.metric = "exact_match,flexible-extract",
                     .extract = "-?[$0-9.,]{2,}|-?[0-9]+",
                     .last = true,
                     .ignored = ignored,
                     .ignores_case = true}},
          .stops = {"Question:", "</s>", "<|im_end|>"}};
}

Task metamath() {
  return {.name = "gsm8k_metamath",
          .kind = TaskKind::kAnswers,
          .columns = {"question", "answer"},
          .prompt =
              "Below is an instruction that describes a task. Write a response that "
              "appropriately completes the request.\n\n### Instruction:\n{{ question "
              "}}\n\n### Response: Let's think step by step.",
          .target = "{{ [answer] | tojson }}",
          .draw = ShotDraw::kNone,
          .metrics = {},
          .rules = {{.equal = metamath_equal}},
          .stops = {"Instruction:", "Instruction", "Response:", "Response"},
          .max_new_tokens = 1024};
}

// As PEFT's benchmark of methods asks it, by the prompt that its training shows, and judges it.
Task gsm8k_of_peft() {
  Task task = metamath();
  task.name = "gsm8k_peft";
  task.prompt = "Question: {{ question }} Think step by step.\nAnswer:";
  task.rules = {{.equal = peft_equal}};
  task.stops = {};
  task.max_new_tokens = 768;
  return task;
}

std::vector<Task> questions() {
  Task trivia{.name = "triviaqa",
              .kind = TaskKind::kAnswers,
              .columns = {"question", "answer"},
              .prompt = "Question: {{ question }}?\nAnswer:",
              .target = "{{ (answer.aliases if answer is mapping else answer) | tojson }}",
              .draw = ShotDraw::kOthers,
              .metrics = {},
              .rules = {{.ignores_case = true, .ignores_punctuation = true}},
              .stops = kQuestionStops};
  Task natural = trivia;
  natural.name = "nq_open";
  natural.description = "Answer these questions:\n\n";
  natural.prompt = "Q: {{ question }}?\nA:";
  natural.target = "{{ answer | tojson }}";
  natural.shot_separator = "\n";
  natural.rules.front().ignored = {"\\b(?:The |the |An |A |The |a |an )"};
  Task web{.name = "webqs",
           .columns = {"question", "answers"},
           .prompt = "Question: {{ question }}\nAnswer:",
           .choices = "{{ answers | tojson }}",
           .draw = ShotDraw::kNone,
           .narrow = shortest_answers,
           .all_right = true,
           .metrics = {"exact_match"}};
  return {trivia, natural, web, gsm8k(), metamath(), gsm8k_of_peft()};
}

std::vector<Task> choices() {
  return {
      arc("arc_easy"),
      arc("arc_challenge"),
      {.name = "hellaswag",
       .columns = {"activity_label", "ctx_a", "ctx_b", "endings", "label"},
       .prompt = "{{ activity_label }}: {{ ctx_a }} {{ ctx_b.capitalize() }}",
       .choices = "{{ endings | tojson }}",
       .target = "{{ label }}",
       .draw = ShotDraw::kOthers,
       .clean = hellaswag_text,
       .metrics = kNorm},
      {.name = "piqa",
       .columns = {"goal", "sol1", "sol2", "label"},
       .prompt = "Question: {{ goal }}\nAnswer:",
       .choices = "{{ [sol1, sol2] | tojson }}",
       .target = "{{ label }}",
       .draw = ShotDraw::kOthers,
       .metrics = kNorm},
      {.name = "boolq",
       .columns = {"passage", "question", "label"},
       .prompt = "{{ passage }}\nQuestion: {{ question }}?\nAnswer:",
       .choices = "[\"no\", \"yes\"]",
       .target = "{{ label | int }}",
       .draw = ShotDraw::kOthers,
       .metrics = {"acc"}},
      {.name = "winogrande",
       .columns = {"sentence", "option1", "option2", "answer"},
       .prompt = "",
       .choices = "{{ [sentence.partition('_')[0] ~ option1, sentence.partition('_')[0] ~ option2] "
                  "| tojson }}",
       .target = "{{ answer | int - 1 }}",
       .continuation = "{{ sentence.partition('_')[2].strip() }}",
       .draw = ShotDraw::kOthers,
       .metrics = {"acc"}},
      {.name = "openbookqa",
       .columns = {"question_stem", "choices", "answerKey"},
       .prompt = "{{ question_stem }}",
       .choices = "{{ choices.text | tojson }}",
       .target = "{{ choices.label.index(answerKey.lstrip()) }}",
       .metrics = kNorm},
      {.name = "sciq",
       .columns = {"question", "distractor1", "distractor2", "distractor3", "correct_answer",
                   "support"},
       .prompt = "{{ support.lstrip() }}\nQuestion: {{ question }}\nAnswer:",
       .choices = "{{ [distractor1, distractor2, distractor3, correct_answer] | tojson }}",
       .target = "3",
       .metrics = kNorm},
      {.name = "mmlu",
       .columns = {"question", "subject", "choices", "answer"},
       .prompt = "{{ question.strip() }}\nA. {{ choices[0] }}\nB. {{ choices[1] }}\nC. {{ "
                 "choices[2] }}\nD. {{ choices[3] }}\nAnswer:",
       .choices = "[\"A\", \"B\", \"C\", \"D\"]",
       .target = "{{ answer }}",
       .description = "The following are multiple choice questions (with answers) about {{ "
                      "subject | replace('_', ' ') }}.\n\n",
       .draw = ShotDraw::kFirstOfGroup,
       .group = "subject",
       .metrics = {"acc"}},
  };
}

// The tasks for questions of a user's own.
std::vector<Task> own() {
  return {
      {.name = "multiple-choice",
       .columns = {"question", "choices", "answer"},
       .prompt = "Question: {{ question }}\nAnswer:",
       .choices = "{{ (choices.text if choices is mapping else choices) | tojson }}",
       // The answer may be a number from 0, the text of the choice, or its letter.
       .target = "{{ answer if answer is integer else ((choices.text if choices is mapping else "
                 "choices).index(answer) if answer in (choices.text if choices is mapping else "
                 "choices) else 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'.find(answer)) }}",
       .draw = ShotDraw::kOthers,
       .metrics = kNorm,
       .literal = true},
      {.name = "qa",
       .kind = TaskKind::kAnswers,
       .columns = {"question", "answers"},
       .prompt = "Question: {{ question }}\nAnswer:",
       .target = "{{ answers | tojson }}",
       .draw = ShotDraw::kOthers,
       .metrics = {},
       .rules = {{.equal =
                      [](const std::string& answer, const std::string& reference) {
                        return normalize_answer(answer) == normalize_answer(reference);
                      }}},
       .max_new_tokens = 16,
       .literal = true},
  };
}

std::vector<Task> make_tasks() {
  std::vector<Task> all;
  for (const auto& part : {choices(), questions(), own()})
    all.insert(all.end(), part.begin(), part.end());
  all.push_back({.name = "wikitext",
                 .kind = TaskKind::kPages,
                 .columns = {"page"},
                 .prompt = "{{ page }}",
                 .draw = ShotDraw::kNone,
                 .clean = wikitext_page,
                 .metrics = {}});
  return all;
}

template <typename Row>
std::vector<std::string> names_of(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) names.push_back(row.name);
  return names;
}

template <typename Row>
const Row& row_named(const std::vector<Row>& rows, const std::string& name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
  if (found == rows.end()) throw core::InternalError("there is no row '" + name + "'");
  return *found;
}

const std::vector<HarnessVersion>& versions() {
  using Strip = HarnessVersion::Strip;
  static const std::vector<HarnessVersion> kVersions = {
      {"0.4.2", false, false, true, Strip::kOneSpace},
      {"0.4.3", false, true, true, Strip::kOneSpace},
      {"0.4.9", false, true, false, Strip::kFront},
      {"0.4.13", true, true, false, Strip::kBoth}};
  return kVersions;
}

}  // namespace

const std::vector<Task>& tasks() {
  static const std::vector<Task> kTasks = make_tasks();
  return kTasks;
}

std::vector<std::string> task_names() { return names_of(tasks()); }
const Task& task_named(const std::string& name) { return row_named(tasks(), name); }
std::vector<std::string> harness_names() { return names_of(versions()); }
const HarnessVersion& harness_named(const std::string& name) { return row_named(versions(), name); }

}  // namespace corda::eval
