// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Answers for scorers that are programs of others: they run code, ask a judge, or check rules.
#pragma once

#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/eval/eval.h"
#include "core/json.h"

namespace corda::eval {

// How the questions of one scorer are put and how it reads the answers. Texts are Jinja over the
// record's columns.
struct ScorerForm {
  std::string name;
  std::vector<std::string> columns;     // by which it is known, the first of them being its key
  std::string prompt;                   // to a model that goes on with text
  std::string message = {};             // to one that answers messages; "": the prompt
  std::string turns = {};               // a list of messages, one answer each, in place of both
  bool chats = false;                   // messages, where template auto finds one
  std::string example = {};             // of a record with its answer, in front of the prompt
  std::vector<std::string> stops = {};  // where the model goes on with text
  std::int64_t max_new_tokens = 1024;
  // A line of the file, from the record and its answers.
  core::Json (*line)(const core::Json& record, const std::vector<std::string>& answers,
                     const std::string& model) = nullptr;
  // The temperature that belongs to a record unless another is asked for.
  double (*temperature)(const core::Json& record) = nullptr;
  // Records that are examples, and records that are asked, of a file that has all.
  bool (*is_example)(const core::Json& record) = nullptr;
  bool (*is_asked)(const core::Json& record) = nullptr;
};

const std::vector<ScorerForm>& scorer_forms();
// The form that a record's columns show; nullptr where none does.
const ScorerForm* form_of(const core::Json& record);

// What stands in the first block of code, or all of the answer.
std::string code_in(const std::string& answer);

// Task generate of `evaluate`: samples and task are of its result, nothing is scored.
EvalResult generate_answers(const EvalSettings& settings, core::Reporter& reporter);

}  // namespace corda::eval
