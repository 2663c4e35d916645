// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gradient of one optimizer step, however it is cut into micro-batches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "corda/data/batch.h"
#include "corda/model/model.h"
#include "train/gradient_pass.h"
#include "train/gradient_sums.h"

namespace corda::train {

struct StepGradients {
  at::Tensor loss_sum;  // over the supervised tokens; an fp64 scalar on the model's device
  std::int64_t tokens = 0;
  std::int64_t supervised_tokens = 0;

  // loss_sum divided by supervised_tokens. Synchronises.
  double loss() const;
};

// The batches of one optimizer step that this rank computes, and what all ranks compute.
struct StepBatches {
  std::vector<data::PackedBatch> own;
  std::int64_t tokens = 0;
  std::int64_t supervised_tokens = 0;
  // Passes that every rank makes, where a sharded base wants equally many, and a batch for those
  // that a rank makes for the others' sake.
  std::int64_t passes = 0;
  data::PackedBatch filler = {};
};
// The batches of a step that one rank computes alone.
StepBatches all_of(std::vector<data::PackedBatch> micro_batches);

// Runs the micro-batches forward and backward; afterwards the trained tensors hold the gradient of
// the loss over all ranks, with `sums` summed over them, and `loss_sum` is of this rank's part.
// `dropout_seed` fixes dropout. Does not synchronise.
StepGradients accumulate_gradients(GradientPass& pass, const StepBatches& batches,
                                   std::uint64_t dropout_seed, GradientSums* sums = nullptr);
StepGradients accumulate_gradients(GradientPass& pass,
                                   const std::vector<data::PackedBatch>& micro_batches,
                                   std::uint64_t dropout_seed);

}  // namespace corda::train
