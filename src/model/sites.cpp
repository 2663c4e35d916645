// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/sites.h"

#include "corda/core/error.h"

namespace corda::model {

std::vector<Site> sites_of_block(const ModelConfig& config, std::int64_t layer) {
  const std::string block = core::concat("model.layers.", layer);
  const std::string attention = block + ".self_attn.";
  const std::string mlp = block + ".mlp.";
  return {{attention + "input",
           config.hidden_size,
           {attention + "q_proj", attention + "k_proj", attention + "v_proj"}},
          {attention + "o_proj.input", config.num_heads * config.head_dim, {attention + "o_proj"}},
          {mlp + "input", config.hidden_size, {mlp + "gate_proj", mlp + "up_proj"}},
          {mlp + "down_proj.input", config.intermediate_size, {mlp + "down_proj"}}};
}

std::vector<Site> sites_of(const ModelConfig& config) {
  std::vector<Site> sites;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    for (auto& site : sites_of_block(config, layer)) sites.push_back(std::move(site));
  }
  return sites;
}

}  // namespace corda::model
