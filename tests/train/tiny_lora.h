// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The tiny model with a new adapter on every layer of the blocks.
#pragma once

#include <filesystem>
#include <utility>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "support/tiny_model.h"

namespace corda::testing {

// Rank 4 everywhere, on a model that is written to `directory`.
inline model::Model load_tiny_lora(const std::filesystem::path& directory, double dropout = 0,
                                   bool dora = false, const TinyModelOptions& options = {}) {
  model::Model model = load_tiny_model(directory, options);
  adapter::Adapter adapter;
  adapter.rank = 4;
  adapter.alpha = 4;
  adapter.dropout = dropout;
  for (const model::Linear* linear : model.linear_layers()) {
    auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), 4, 1,
                                          linear->name);
    if (dora) layer.magnitude = adapter::dora_magnitude(linear->weight);
    adapter.layers[linear->name] = std::move(layer);
  }
  model::attach_trainable(model, adapter);
  return model;
}

}  // namespace corda::testing
