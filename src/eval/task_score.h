// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Turns items into scores. An item's score depends on no other item, so that they may be shared
// out; what all together give is computed from the scores alone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/eval/eval.h"
#include "corda/model/model.h"
#include "eval/chat_prompt.h"
#include "eval/prompt_encoder.h"
#include "eval/task_items.h"

namespace corda::eval {

// What was found of one item.
struct ItemScore {
  std::vector<double> log_likelihoods;  // of the choices; of a page
  std::vector<bool> greedy;             // each token of the choice is the likeliest
  std::string answer;
  std::vector<std::string> extracted;  // of the answer, a rule each
  std::vector<double> metrics;         // 0 or 1, as `item_metrics` names them
};

// The names of the metrics that every item has: the task's, or those of its rules.
std::vector<std::string> item_metrics(const Task& task);

// How a task's items are put to a model.
struct TaskRun {
  const Task& task;
  const HarnessVersion& harness;
  const tokenizer::Tokenizer& tokenizer;
  PromptEncoder encoder;
  std::shared_ptr<const ChatPrompts> chat;  // of answers; null: prompts are plain text
  std::string system;                       // with it
  AnswerSettings answers;                   // complete
  std::int64_t max_length = 0;              // tokens of prompt and continuation
  std::int64_t vocab_size = 0;              // of the model
  std::int64_t batch_tokens = 0;
  std::int64_t threads = 0;
};

// Throws ConfigError with a record's place where a token of what it asks has no row in the model.
void require_rows(const TaskRun& run, const std::vector<Item>& items);

// One for each item, in order. Throws ConfigError where a continuation does not fit.
std::vector<ItemScore> score_items(const TaskRun& run, const model::Model& model,
                                   const std::vector<Item>& items, core::Reporter& reporter);

// Puts means, standard errors and groups into the result; of tasks of pages the perplexities.
void summarise(const Task& task, const std::vector<Item>& items,
               const std::vector<ItemScore>& scores, EvalResult& result);

// The mean of `values` and, of two or more, its standard error.
Metric mean_metric(const std::string& name, const std::vector<double>& values);

}  // namespace corda::eval
