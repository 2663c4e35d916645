// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/flops.h"

#include <ATen/core/Tensor.h>

#include "train/low_rank_site.h"

namespace corda::train {

namespace {

// The operations of products with `weight`, a token: forward, the weight's gradient where it is
// trained, and the input's gradient where something before it is.
double products_of(const at::Tensor& weight, bool input_needed) {
  const int passes = 1 + (weight.requires_grad() ? 1 : 0) + (input_needed ? 1 : 0);
  return passes * 2.0 * static_cast<double>(weight.numel());
}

double products_of(const std::vector<const model::Linear*>& site, bool input_needed) {
  double flops = 0;
  for (const model::Linear* linear : site) {
    flops += products_of(linear->weight, input_needed);
    if (!linear->low_rank) continue;
    flops += products_of(linear->low_rank->b, input_needed || linear->low_rank->a.requires_grad());
  }
  for (const SitePart& part : layout_of(site).parts) {
    if (part.a.defined()) flops += products_of(part.a, input_needed);
  }
  return flops;
}

bool is_trained(const model::Linear& linear) {
  return linear.weight.requires_grad() || linear.low_rank.has_value();
}

// The products that DoRA's row norms take: W A^T, A A^T and B (A A^T). They have no gradient.
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
  bool trained_before = model.embedding.requires_grad();
  for (const model::Block& block : model.blocks) {
    for (const auto& layers : block.sites) {
      const std::vector<const model::Linear*> site = linears_of(layers);
      per_token += products_of(site, trained_before);
      for (const model::Linear* linear : site) {
        if (linear->low_rank && linear->low_rank->magnitude.defined())
          per_micro_batch += norms_of(*linear);
      }
      for (const model::Linear* linear : site) trained_before |= is_trained(*linear);
    }
  }
  return per_token * tokens + products_of(model.head_weight(), trained_before) * head_rows +
         per_micro_batch * micro_batches;
}

}  // namespace corda::train
