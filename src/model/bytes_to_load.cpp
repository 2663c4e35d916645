// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/bytes_to_load.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace corda::model {

std::int64_t bytes_to_load(const quant::ModelWeights& weights, const ModelDescription& config,
                           LoadOptions options) {
  const bool in_parts = static_cast<bool>(options.block_loaded);
  options.device = at::kMeta;
  options.block_loaded = {};
  Model shapes = load_model(weights, config, options);
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : shapes.parameters())
    bytes += static_cast<std::int64_t>(tensor->nbytes());
  std::int64_t layers = 0;
  std::int64_t largest = 0;  // block
  for (Block& block : shapes.blocks) {
    std::int64_t held = 0;
    for (const Linear* linear : block.linear_layers()) {
      const auto dense = static_cast<std::int64_t>(linear->weight.nbytes());
      bytes -= dense;
      held += linear->packed ? linear->packed->codes.bytes() : dense;
    }
    layers += held;
    largest = std::max(largest, held);
  }
  return bytes + (in_parts ? largest : layers);
}

}  // namespace corda::model
