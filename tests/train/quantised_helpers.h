// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A model whose layers are held in codes, and the one that has what they mean as matrices.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "corda/model/model.h"

namespace corda::testing {

inline model::Model load_base(const std::filesystem::path& directory, model::LoadOptions options,
                              quant::Base base) {
  options.base = base;
  return model::load_model(io::Checkpoint(directory), model::read_model_config(directory), options);
}

// The same with a matrix in place of every layer's codes.
inline model::Model dequantised(model::Model model) {
  for (model::Linear* linear : model.linear_layers()) {
    linear->weight = model::weight_of(*linear);
    linear->packed = nullptr;
  }
  return model;
}

// Rank 5 (padded to 8) on every layer but k_proj. `subtracts`: the start of the factors is taken
// off the weights, as after a decomposition.
inline adapter::Adapter base_adapter(const model::Model& model, bool subtracts, bool magnitude) {
  adapter::Adapter result;
  result.rank = 5;
  result.alpha = 10;
  at::manual_seed(3);
  for (const model::Linear* linear : model.linear_layers()) {
    if (linear->name.ends_with("k_proj")) continue;
    auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), 5, 1,
                                          linear->name);
    layer.b = at::randn_like(layer.b) * 0.05;
    if (subtracts) {
      layer.a0 = layer.a + at::randn_like(layer.a) * 0.01;
      layer.b0 = layer.b + at::randn_like(layer.b) * 0.01;
    }
    if (magnitude)
      layer.magnitude =
          adapter::dora_magnitude(model::weight_of(*linear).to(at::kFloat).cpu()) * 1.1;
    result.layers[linear->name] = std::move(layer);
  }
  return result;
}

}  // namespace corda::testing
