// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Greedy generation in batches with a key/value cache.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "corda/model/model.h"

namespace corda::model {

struct GenerateOptions {
  std::int64_t max_new_tokens = 16;
  std::vector<std::int32_t> stop_ids;  // generation of a sequence ends before one of these
  // Also ends a sequence when it returns true for the tokens generated so far; may be empty.
  std::function<bool(std::span<const std::int32_t> generated)> stop_when;
};

// The most likely continuation of each prompt (ties: the lowest id), stop tokens left out. All
// prompts run as one batch; prompts may differ in length. Throws ConfigError for an empty prompt.
std::vector<std::vector<std::int32_t>> generate_greedy(
    const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
    const GenerateOptions& options);

}  // namespace corda::model
