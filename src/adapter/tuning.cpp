// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/tuning.h"

#include <algorithm>

namespace corda::adapter {

namespace {

void add_layer(card::Tuning& tuning, const std::string& module, std::int64_t rank) {
  const bool is_first = tuning.modules.empty();
  tuning.smallest_rank = is_first ? rank : std::min(tuning.smallest_rank, rank);
  tuning.largest_rank = std::max(tuning.largest_rank, rank);
  tuning.modules.push_back(module);
}

// `header` has everything but the layers; `subtracts_start` is LayerAdapter's.
card::Tuning without_layers(const Adapter& header, bool subtracts_start) {
  return {.method = header.method,
          .mode = header.mode,
          .rank = header.rank,
          .stored_rank = subtracts_start ? 2 * header.rank : header.rank,
          .alpha = header.alpha,
          .corrects = header.corrects_base ? header.base_format : ""};
}

}  // namespace

card::Tuning tuning_of(const Adapter& adapter) {
  const bool subtracts =
      !adapter.layers.empty() && adapter.layers.begin()->second.subtracts_start();
  card::Tuning tuning = without_layers(adapter, subtracts);
  for (const auto& [module, layer] : adapter.layers) add_layer(tuning, module, layer.rank());
  return tuning;
}

card::Tuning tuning_of(const Adapter& header, const std::map<std::string, LayerScale>& layers,
                       bool subtracts_start) {
  card::Tuning tuning = without_layers(header, subtracts_start);
  for (const auto& [module, scale] : layers) add_layer(tuning, module, scale.rank);
  return tuning;
}

card::Tuning tuning_of(const AdapterReader& reader) {
  const auto& modules = reader.modules();
  const bool subtracts = !modules.empty() && reader.layer(modules.front()).subtracts_start();
  card::Tuning tuning = without_layers(reader.header(), subtracts);
  for (const std::string& module : modules) add_layer(tuning, module, reader.rank_of(module));
  return tuning;
}

}  // namespace corda::adapter
