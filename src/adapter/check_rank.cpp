// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/check_rank.h"

#include <algorithm>

#include "corda/core/error.h"

namespace corda::adapter {

void check_rank(std::int64_t rank, const std::vector<LayerSize>& layers,
                const std::string& rank_setting, const std::string& targets_setting) {
  const auto largest_rank = [](const LayerSize& layer) {
    return std::min(layer.out_features, layer.in_features);
  };
  const auto narrowest = std::min_element(
      layers.begin(), layers.end(),
      [&](const auto& one, const auto& other) { return largest_rank(one) < largest_rank(other); });
  if (narrowest == layers.end() || rank <= largest_rank(*narrowest)) return;
  throw core::ConfigError(core::concat(
      rank_setting, " ", rank, " is larger than '", narrowest->module, "' allows: its weight is [",
      narrowest->out_features, ", ", narrowest->in_features, "]; set it to at most ",
      largest_rank(*narrowest), " or leave such layers out of ", targets_setting));
}

}  // namespace corda::adapter
