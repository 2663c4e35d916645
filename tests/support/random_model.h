// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Models of random weights that are made in memory, without files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "corda/model/model.h"
#include "corda/quant/quantise.h"

namespace corda::testing {

struct RandomModelOptions {
  at::Device device = at::kCPU;
  at::ScalarType weights = at::kFloat;
  at::ScalarType compute = at::kFloat;
  double spread = 0.02;                    // standard deviation of matrices
  quant::Base base = quant::Base::kDense;  // of the layers of the blocks
  // Told of every block before the next one is made, as model::LoadOptions; may be empty.
  std::function<void(std::int64_t layer, model::Block& block)> block_made = {};
};

// Matrices are normal, biases zero, norms one (zero where the family adds one to them).
model::Model random_model(const model::ModelDescription& described,
                          const RandomModelOptions& options);

struct RandomAdapterOptions {
  std::int64_t rank = 128;
  double scale = 1;
  bool train_a = true;
  bool share_a = false;  // one A for the layers of one input, as in mode dual
  bool magnitude = false;
};

// Adapters on every layer of the blocks; their B is not zero.
void add_random_adapters(model::Model& model, const RandomAdapterOptions& options);

}  // namespace corda::testing
