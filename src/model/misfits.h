// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tensors of a checkpoint that are not those of its configuration, and what a user is told of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/model/description.h"
#include "corda/quant/model_weights.h"

namespace corda::model {

struct Misfits {
  std::vector<std::string> missing;    // names that are looked for
  std::vector<std::string> surplus;    // names that are there
  std::vector<std::string> misshapen;  // sentences' halves
  std::vector<std::string> mistyped;

  bool empty() const {
    return missing.empty() && misshapen.empty() && mistyped.empty() && surplus.empty();
  }
  // Describes all kinds in one sentence: how many there are of each, the first few, and the likely
  // cause. `num_layers` is the configuration's.
  std::string describe(std::int64_t num_layers) const;
};

// What of the files is not what `config` says, with the names and shapes of their headers alone.
Misfits misfits_of(const quant::ModelWeights& weights, const ModelDescription& config);

}  // namespace corda::model
