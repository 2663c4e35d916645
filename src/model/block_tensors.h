// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The tensors of a block, whatever a family has of them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "corda/model/model.h"

namespace corda::model {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor*>>;

// By their names in a checkpoint, in the order of `block_tensors`.
NamedTensors tensors_of(const ModelDescription& config, Block& block);

}  // namespace corda::model
