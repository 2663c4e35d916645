// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A small model in parts, as one rank of one holds it.
#pragma once

#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "corda/data/batch.h"
#include "corda/model/model.h"
#include "train/sharded_parameters.h"

namespace corda::train {

// All of the model's tensors, in parts of one rank.
inline std::unique_ptr<ShardedParameters> shard(model::Model& model) {
  auto sharded = std::make_unique<ShardedParameters>(dist::alone(), model.config);
  const ShardLayout& layout = sharded->layout();
  for (std::int64_t layer = 0; layer < model.config.num_layers(); ++layer) {
    auto& block = model.blocks[static_cast<std::size_t>(layer)];
    sharded->take(layout.block(layer), model::tensors_of(model.config, block));
  }
  const model::NamedTensors all = model.parameters();
  const auto behind = static_cast<std::ptrdiff_t>(layout.parts[layout.end()].places.size());
  sharded->take(layout.embedding(), {all.front()});
  sharded->take(layout.end(), {all.end() - behind, all.end()});
  sharded->open();
  return sharded;
}

// The gradients of the model's tensors by their names, once a step's are complete.
inline std::map<std::string, at::Tensor> gradients_of(const ShardedParameters& parameters) {
  const auto pieces = parameters.pieces();
  std::map<std::string, at::Tensor> gradients;
  for (std::size_t part = 0; part < pieces.size(); ++part) {
    for (const ShardPlace& place : parameters.layout().parts[part].places) {
      gradients[place.name] =
          pieces[part].second.grad().narrow(0, place.begin, place.elements()).view(place.sizes);
    }
  }
  return gradients;
}

// Of unequal samples with byte-level ids.
inline std::vector<data::PackedBatch> two_batches() {
  std::vector<data::PackedBatch> batches(2);
  for (std::int64_t sample = 0; sample < 5; ++sample) {
    data::Sample made;
    for (std::int64_t i = 0; i < 9 + 3 * sample; ++i) {
      made.ids.push_back(static_cast<data::TokenId>((i * 37 + sample * 11) % 257));
      made.supervised.push_back(i > 3);
    }
    data::append(batches[sample < 3 ? 0 : 1], made);
  }
  return batches;
}

}  // namespace corda::train
