// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How the loss of a batch and its gradients are computed; training is given one of these.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "corda/data/batch.h"
#include "corda/model/forward.h"
#include "corda/model/model.h"

namespace corda::train {

// The gradients of the blocks' trained tensors, one behind the other in the order of the blocks.
struct FlatGradients {
  at::Tensor all;                            // fp32; undefined where a pass has none
  std::vector<std::int64_t> begin_of_block;  // of each block
};

// Told while a batch is differentiated that the gradients of block `block` and all behind it are
// complete: on a GPU, for what is given to the current stream then, which need not be that of the
// caller of `run`.
using BlockDone = std::function<void(std::int64_t block)>;

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
  at::Tensor run(const data::PackedBatch& batch, double scale) { return run(batch, scale, {}); }
  // The same, and tells `done` what is complete, if the pass knows it before its end.
  virtual at::Tensor run(const data::PackedBatch& batch, double scale, const BlockDone& done) = 0;
  // In place of `run` in a step without a batch: the gradients are zero.
  virtual void run_nothing() = 0;
  // Where the gradients of every step are, if that is one place.
  virtual FlatGradients flat_gradients() const { return {}; }
  // A few words for the log.
  virtual std::string describe() const = 0;

  model::Model& model() const { return model_; }

 protected:
  explicit GradientPass(model::Model& model) : model_(model) {}

 private:
  model::Model& model_;
};

// Adds to the gradient of the model's table, which is there, what that of the rows [tokens, hidden]
// embedded from `ids` makes of it; only the rows of these tokens are touched.
void add_embedding_gradient(const model::Model& model, const at::Tensor& ids,
                            const at::Tensor& rows_gradient);

// The forward pass of corda/model/forward.h with autograd, for every method: over kernels, or over
// ATen's operations, which is the oracle of that and of the one in low_rank_pass.h.
std::unique_ptr<GradientPass> make_autograd_pass(
    model::Model& model, model::Operations operations = model::Operations::kAten);

}  // namespace corda::train
