// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gradient of one optimizer step, however it is cut into micro-batches.
#pragma once

#include <cstdint>
#include <vector>

#include "corda/data/batch.h"
#include "corda/model/batch.h"
#include "corda/model/model.h"
#include "corda/train/optimizer.h"
#include "train/gradient_pass.h"

namespace corda::train {

struct StepResult {
  double loss = 0;       // sum over supervised tokens / their number
  double grad_norm = 0;  // before clipping
  std::int64_t tokens = 0;
  std::int64_t supervised_tokens = 0;
};

// Runs the micro-batches forward and backward, adding to the gradients of the optimizer's
// parameters the gradient of `loss`; then clips them to the norm `grad_clip` (0: not).
// `dropout_seed` fixes dropout. Throws NumericalError where loss or norm is not finite.
StepResult accumulate_gradients(GradientPass& pass,
                                const std::vector<data::PackedBatch>& micro_batches,
                                AdamW& optimizer, double grad_clip, std::uint64_t dropout_seed);

// The batch on the model's device.
model::Batch to_device(const data::PackedBatch& packed, const model::Model& model);

}  // namespace corda::train
