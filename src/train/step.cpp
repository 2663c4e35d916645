// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/step.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/random.h"

namespace corda::train {

double StepGradients::loss() const {
  return loss_sum.item<double>() / static_cast<double>(supervised_tokens);
}

StepBatches all_of(std::vector<data::PackedBatch> micro_batches) {
  StepBatches result{.own = std::move(micro_batches)};
  for (const auto& packed : result.own) {
    result.tokens += packed.tokens();
    result.supervised_tokens += packed.targets();
  }
  return result;
}

StepGradients accumulate_gradients(GradientPass& pass, const StepBatches& batches,
                                   std::uint64_t dropout_seed, GradientSums* sums) {
  if (batches.supervised_tokens == 0)
    throw core::InternalError("[train::accumulate_gradients] a step without a supervised token");
  const double scale = 1 / static_cast<double>(batches.supervised_tokens);
  const model::Model& model = pass.model();
  StepGradients result{
      .loss_sum = at::zeros({}, at::TensorOptions().device(model.device()).dtype(at::kDouble)),
      .tokens = batches.tokens,
      .supervised_tokens = batches.supervised_tokens};
  const auto done_of = [&](bool is_last) {
    BlockDone done;
    if (sums != nullptr && is_last)
      done = [sums](std::int64_t block) { sums->complete_from(block); };
    return done;
  };
  std::vector<std::size_t> with_targets;
  for (std::size_t i = 0; i < batches.own.size(); ++i)
    if (batches.own[i].targets() > 0) with_targets.push_back(i);
  pass.begin_step();
  // What counts comes last, with its sums over the ranks.
  const auto own = static_cast<std::int64_t>(with_targets.size());
  const std::int64_t for_others = std::max<std::int64_t>(batches.passes - own, 0);
  for (std::int64_t i = 0; i < for_others; ++i) {
    const bool is_last = own == 0 && i + 1 == for_others;
    pass.run(batches.filler, 0, done_of(is_last));
  }
  for (const std::size_t i : with_targets) {
    at::manual_seed(core::derive_seed(dropout_seed, i));
    const bool is_last = i == with_targets.back();
    result.loss_sum += pass.run(batches.own[i], scale, done_of(is_last));
  }
  if (own + for_others == 0) pass.run_nothing();
  if (sums != nullptr) sums->finish();
  return result;
}

StepGradients accumulate_gradients(GradientPass& pass,
                                   const std::vector<data::PackedBatch>& micro_batches,
                                   std::uint64_t dropout_seed) {
  return accumulate_gradients(pass, all_of(micro_batches), dropout_seed);
}

}  // namespace corda::train
