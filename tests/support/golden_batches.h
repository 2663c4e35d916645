// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The batches of tests/golden/train (scripts/golden/train.py).
#pragma once

#include <filesystem>
#include <vector>

#include "corda/data/batch.h"
#include "core/json.h"

namespace corda::testing {

inline std::vector<std::vector<data::Sample>> golden_batches() {
  const core::Json root =
      core::read_json(std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/train/batches.json");
  std::vector<std::vector<data::Sample>> batches;
  for (const auto& batch : root.at("batches")) {
    batches.emplace_back();
    for (const auto& sample : batch) {
      batches.back().push_back(
          {.ids = sample.at("ids").get<std::vector<data::TokenId>>(),
           .supervised = sample.at("supervised").get<std::vector<std::uint8_t>>()});
    }
  }
  return batches;
}

inline std::vector<data::PackedBatch> micro_batches(const std::vector<data::Sample>& samples,
                                                    std::int64_t tokens, bool packing) {
  std::vector<const data::Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  return data::make_micro_batches(pointers, tokens, packing);
}

}  // namespace corda::testing
