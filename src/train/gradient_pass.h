// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How the loss of a batch and its gradients are computed; training is given one of these.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "corda/data/batch.h"
#include "corda/model/forward.h"
#include "corda/model/model.h"

namespace corda::train {

class GradientPass {
 public:
  GradientPass() = default;
  GradientPass(const GradientPass&) = delete;
  GradientPass& operator=(const GradientPass&) = delete;
  virtual ~GradientPass() = default;

  // To be called before the first batch of an optimizer step, when gradients start at zero.
  virtual void begin_step() = 0;
  // Adds the gradient of scale x (sum of the cross-entropy over the batch's targets) to the `grad`
  // of every trained tensor; returns that sum without the scale, an fp64 scalar on the model's
  // device. Does not wait for the GPU, but the first time that a shape of batch comes.
  virtual at::Tensor run(const data::PackedBatch& batch, double scale) = 0;
  // A few words for the log.
  virtual std::string describe() const = 0;

  model::Model& model() const { return model_; }

 protected:
  explicit GradientPass(model::Model& model) : model_(model) {}

 private:
  model::Model& model_;
};

// The forward pass of corda/model/forward.h with autograd, for every method: over kernels, or over
// ATen's operations, which is the oracle of that and of the one in low_rank_pass.h.
std::unique_ptr<GradientPass> make_autograd_pass(
    model::Model& model, model::Operations operations = model::Operations::kAten);

}  // namespace corda::train
