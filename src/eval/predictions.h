// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What was found item by item, as a file, and two such files side by side.
#pragma once

#include <filesystem>
#include <vector>

#include "corda/eval/eval.h"
#include "eval/task_items.h"
#include "eval/task_score.h"

namespace corda::eval {

// Throws ConfigError where no file can appear at `path`: its folder is not there, or it is one.
void check_can_hold(const std::filesystem::path& path);

// JSONL, an object an item: task, item, prompt; choices, right, log_likelihoods, greedy, or answer,
// references, extracted; scores. Written atomically.
void write_predictions(const std::filesystem::path& path, const Task& task,
                       const std::vector<Item>& items, const std::vector<ItemScore>& scores);

// The scores of another model's file: an item each, as `item_metrics` names them. Throws
// ConfigError for a task whose items are not right or wrong, FormatError where the file is of other
// items: another task, other prompts, more or fewer.
std::vector<std::vector<double>> read_scores(const std::filesystem::path& path, const Task& task,
                                             const std::vector<Item>& items);

// Counts what changed from the other model to this one.
std::vector<Comparison> compare_scores(const Task& task,
                                       const std::vector<std::vector<double>>& there,
                                       const std::vector<ItemScore>& here);

// McNemar's exact test: how likely a split of gained + lost coins is that is as uneven or more.
double mcnemar(std::int64_t gained, std::int64_t lost);

}  // namespace corda::eval
