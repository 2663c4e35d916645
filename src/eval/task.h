// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The tasks of lm-evaluation-harness, each a row of a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace corda::eval {

enum class TaskKind {
  kChoices,  // the likeliest of several continuations
  kAnswers,  // a generated answer that is compared with references
  kPages,    // the likelihood of whole texts
};

// Which records of the pool are shown as examples.
enum class ShotDraw {
  kAny,           // drawn
  kOthers,        // drawn, without the record itself: the pool may hold it
  kFirstOfGroup,  // the first of the record's group
  kNone,          // the harness has no examples for it
};

// How a generated answer becomes right or wrong.
struct AnswerRule {
  std::string metric = "exact_match";
  // A pattern, of whose first (`last`: last) match the answer is taken, "[invalid]" without one; ""
  // takes all of the answer without the white space that its harness strips.
  std::string extract = {};
  bool last = false;
  std::vector<std::string> ignored = {};  // patterns deleted from answer and reference, in order
  bool ignores_case = false;
  bool ignores_punctuation = false;  // ASCII
  // A function that decides alone, in place of the rules above.
  bool (*equal)(const std::string& answer, const std::string& reference) = nullptr;
};

// Texts are Jinja over the record's columns. Lists and numbers are JSON that it writes.
struct Task {
  std::string name;
  TaskKind kind = TaskKind::kChoices;
  std::vector<std::string> columns;  // that a record must have
  std::string prompt = {};
  std::string choices = {};  // a list of texts
  std::string target = {};   // of choices the number of the right one; of answers a list of texts
  // Choices complete the prompt, and this is what each of them is followed by (winogrande).
  std::string continuation = {};
  std::string description = {};  // before the examples
  std::string shot_separator = "\n\n";
  ShotDraw draw = ShotDraw::kAny;
  std::int64_t shots = 0;  // unless asked for otherwise
  std::string group = {};  // the column whose values are reported apart
  std::string (*clean)(const std::string& text) = nullptr;  // of prompts and choices
  std::vector<std::string> (*narrow)(std::vector<std::string> choices) = nullptr;
  bool all_right = false;            // every choice is
  std::vector<std::string> metrics;  // of choices: acc, acc_norm, exact_match
  std::vector<AnswerRule> rules = {};
  std::vector<std::string> stops = {};
  std::int64_t max_new_tokens = 256;
  // Special tokens written out in a text are text, not tokens.
  bool literal = false;
};

// Every task but perplexity and generate.
const std::vector<Task>& tasks();
std::vector<std::string> task_names();
// One of them.
const Task& task_named(const std::string& name);

// How versions of the harness differ.
struct HarnessVersion {
  std::string name;
  bool own_bos = true;        // prompts begin as the tokenizer has them; else without BOS
  bool prefix_is_bos = true;  // before a text without context stands BOS, if there is one; else EOS
  bool trims_description = false;  // of the line break at its end
  enum class Strip { kOneSpace, kFront, kBoth } strip = Strip::kBoth;  // of generated answers
};
std::vector<std::string> harness_names();
const HarnessVersion& harness_named(const std::string& name);

// MetaMath's judgement (Yu et al. 2024) of an answer to GSM8K: the number behind "The answer is: ",
// rounded, is that behind "#### ".
bool metamath_equal(const std::string& answer, const std::string& reference);

// The judgement of PEFT's benchmark of methods (method_comparison/MetaMathQA): what stands behind
// the last "The answer is", "The final answer is" or "####" of both texts is the same number, or,
// where neither is one, the same text.
bool peft_equal(const std::string& answer, const std::string& reference);

// What a rule makes of an answer before it is compared.
std::string extracted(const AnswerRule& rule, const HarnessVersion& harness,
                      const std::string& answer);
// Whether that equals one of the references.
bool is_right(const AnswerRule& rule, const std::string& extracted,
              const std::vector<std::string>& references);

}  // namespace corda::eval
