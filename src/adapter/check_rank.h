// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether layers are wide enough for a rank.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace corda::adapter {

struct LayerSize {
  std::string module;
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
};

// Throws ConfigError, naming the layer and the largest rank that would do, where the narrower side
// of one is below `rank`. `rank_setting` and `targets_setting` are the user's names of the rank and
// of the list of layers.
void check_rank(std::int64_t rank, const std::vector<LayerSize>& layers,
                const std::string& rank_setting, const std::string& targets_setting);

}  // namespace corda::adapter
