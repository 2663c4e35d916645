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

// One way to put a question. Texts are Jinja over the record's columns.
struct ScorerAsk {
  std::string prompt = {};
  std::string begun = {};  // the answer's first words; of messages only
  std::vector<std::string> stops = {};
  std::int64_t max_new_tokens = 1024;
  // What the scorer is given of an answer; null: all.
  std::string (*kept)(const core::Json& record, const std::string& answer) = nullptr;
};

// How the questions of one scorer are put and how it reads the answers.
struct ScorerForm {
  std::string name;
  std::vector<std::string> columns;  // by which it is known
  // What else its records have in common.
  bool (*is_of)(const core::Json& record) = nullptr;
  ScorerAsk text = {};       // for a model that goes on with text
  ScorerAsk message = {};    // for one that answers messages
  std::string turns = {};    // a list of messages, one answer each, in place of both prompts
  bool chats = false;        // messages, where template auto finds one
  std::string example = {};  // of a record with its answer, in front of a text
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
// The form that a record is of; nullptr where there is none.
const ScorerForm* form_of(const core::Json& record);

// The code in an answer that began inside a block: what stands before the block's end, or in a
// block that the answer opens itself.
std::string code_in(const std::string& answer);

// Jinja of a form over a record.
std::string filled(const std::string& source, const core::Json& record);

// Task generate of `evaluate`: samples and task are of its result, nothing is scored.
EvalResult generate_answers(const EvalSettings& settings, core::Reporter& reporter);

}  // namespace corda::eval
