// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/tuning.h"

#include <utility>

namespace corda::adapter {

namespace {

// `header` has everything but the layers; `subtracts_start` is LayerAdapter's.
card::Tuning tuning(const Adapter& header, std::vector<std::string> modules, bool subtracts_start) {
  return {.method = header.method,
          .mode = header.mode,
          .rank = header.rank,
          .stored_rank = subtracts_start ? 2 * header.rank : header.rank,
          .alpha = header.alpha,
          .modules = std::move(modules)};
}

}  // namespace

card::Tuning tuning_of(const Adapter& adapter) {
  std::vector<std::string> modules;
  for (const auto& [module, layer] : adapter.layers) modules.push_back(module);
  const bool subtracts =
      !adapter.layers.empty() && adapter.layers.begin()->second.subtracts_start();
  return tuning(adapter, std::move(modules), subtracts);
}

card::Tuning tuning_of(const AdapterReader& reader) {
  const auto& modules = reader.modules();
  const bool subtracts = !modules.empty() && reader.layer(modules.front()).subtracts_start();
  return tuning(reader.header(), modules, subtracts);
}

}  // namespace corda::adapter
