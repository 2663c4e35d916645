// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The places of a model where linear layers share one input, and so one covariance.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/model/description.h"

namespace corda::model {

struct Site {
  std::string name;  // "model.layers.0.self_attn.input"
  std::int64_t in_features = 0;
  std::vector<std::string> modules;  // "model.layers.0.self_attn.q_proj"...
};

// Four sites a block, in the order of the forward pass; the names `SiteObserver` is called with.
std::vector<Site> sites_of(const ModelDescription& model);
// The four sites of one block.
std::vector<Site> sites_of_block(const ModelDescription& model, std::int64_t layer);

// The names of all linear layers of the blocks, in the order of the forward pass.
std::vector<std::string> layers_of_blocks(const ModelDescription& model);

}  // namespace corda::model
