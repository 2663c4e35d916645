// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/step.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/core/random.h"

namespace corda::train {

double StepGradients::loss() const {
  return loss_sum.item<double>() / static_cast<double>(supervised_tokens);
}

StepGradients accumulate_gradients(GradientPass& pass,
                                   const std::vector<data::PackedBatch>& micro_batches,
                                   std::uint64_t dropout_seed) {
  StepGradients result;
  for (const auto& packed : micro_batches) {
    result.tokens += packed.tokens();
    result.supervised_tokens += packed.targets();
  }
  if (result.supervised_tokens == 0)
    throw core::InternalError("[train::accumulate_gradients] a step without a supervised token");
  const double scale = 1 / static_cast<double>(result.supervised_tokens);
  const model::Model& model = pass.model();
  result.loss_sum = at::zeros({}, at::TensorOptions().device(model.device()).dtype(at::kDouble));
  pass.begin_step();
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    if (micro_batches[i].targets() == 0) continue;
    at::manual_seed(core::derive_seed(dropout_seed, i));
    result.loss_sum += pass.run(micro_batches[i], scale);
  }
  return result;
}

}  // namespace corda::train
