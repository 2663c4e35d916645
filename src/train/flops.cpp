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

// W A^T, A A^T and B (A A^T) of the rows' norms, which have no gradient.
double norms_of(const model::Linear& linear) {
  const at::Tensor& a = linear.low_rank->a;
  const at::Tensor& b = linear.low_rank->b;
  const auto rank = static_cast<double>(a.size(0));
  return 2 * rank * static_cast<double>(linear.weight.numel() + a.numel() + b.numel());
}

}  // namespace

double flops_of_step(const model::Model& model, double tokens, double head_rows,
                     double micro_batches) {
  double per_token = 0;
  double per_micro_batch = 0;
  for (const model::Block& block : model.blocks) {
    for (const model::Linear* linear :
         {&block.q, &block.k, &block.v, &block.o, &block.gate, &block.up, &block.down}) {
      per_token += products_of(linear->weight);
      if (!linear->low_rank) continue;
      per_token += products_of(linear->low_rank->a) + products_of(linear->low_rank->b);
      if (linear->low_rank->magnitude.defined()) per_micro_batch += norms_of(*linear);
    }
  }
  return per_token * tokens + products_of(model.head_weight()) * head_rows +
         per_micro_batch * micro_batches;
}

}  // namespace corda::train
