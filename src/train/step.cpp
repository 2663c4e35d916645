// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/step.h"

#include <ATen/ATen.h>

#include <cmath>

#include "corda/core/error.h"
#include "corda/core/random.h"

namespace corda::train {

model::Batch to_device(const data::PackedBatch& packed, const model::Model& model) {
  return model::make_batch(packed.ids, packed.positions, packed.cu_seqlens, model.config.vocab_size,
                           model.device(), packed.target_rows, packed.target_ids);
}

StepResult accumulate_gradients(GradientPass& pass,
                                const std::vector<data::PackedBatch>& micro_batches,
                                AdamW& optimizer, double grad_clip, std::uint64_t dropout_seed) {
  StepResult result;
  for (const auto& packed : micro_batches) {
    result.tokens += packed.tokens();
    result.supervised_tokens += packed.targets();
  }
  if (result.supervised_tokens == 0)
    throw core::InternalError("[train::accumulate_gradients] a step without a supervised token");
  const auto count = static_cast<double>(result.supervised_tokens);
  const model::Model& model = pass.model();
  at::Tensor loss = at::zeros({}, at::TensorOptions().device(model.device()).dtype(at::kDouble));
  pass.begin_step();
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    if (micro_batches[i].targets() == 0) continue;
    at::manual_seed(core::derive_seed(dropout_seed, i));
    loss += pass.run(to_device(micro_batches[i], model), 1 / count);
  }
  result.loss = loss.item<double>() / count;
  result.grad_norm = optimizer.gradient_norm();
  if (!std::isfinite(result.loss) || !std::isfinite(result.grad_norm)) {
    throw core::NumericalError(
        core::concat("the loss is ", result.loss, " and its gradient norm ", result.grad_norm));
  }
  // The small number is torch.nn.utils.clip_grad_norm_'s.
  if (grad_clip > 0 && result.grad_norm > grad_clip)
    optimizer.scale_gradients(grad_clip / (result.grad_norm + 1e-6));
  return result;
}

}  // namespace corda::train
