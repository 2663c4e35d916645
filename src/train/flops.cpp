// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/flops.h"

#include <ATen/core/Tensor.h>

namespace corda::train {

namespace {

double products_of(const at::Tensor& weight) {
  const double passes = weight.requires_grad() ? 3 : 2;
  return passes * 2 * static_cast<double>(weight.numel());
}

}  // namespace

double flops_of_step(const model::Model& model, double tokens, double head_rows) {
  double per_token = 0;
  for (const model::Block& block : model.blocks) {
    for (const model::Linear* linear :
         {&block.q, &block.k, &block.v, &block.o, &block.gate, &block.up, &block.down}) {
      per_token += products_of(linear->weight);
      if (linear->low_rank)
        per_token += products_of(linear->low_rank->a) + products_of(linear->low_rank->b);
    }
  }
  return per_token * tokens + products_of(model.head_weight()) * head_rows;
}

}  // namespace corda::train
