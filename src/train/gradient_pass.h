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
// ATen's operations, which is the oracle of that and of the one below.
std::unique_ptr<GradientPass> make_autograd_pass(
    model::Model& model, model::Operations operations = model::Operations::kAten);

// What is computed again in the backward instead of being kept.
enum class Recompute {
  kNone,       // nothing
  kSelective,  // gate and up, nearly half of what a block keeps
  kBlock       // all of a block but its input
};

// Whether batches are filled up to a few sizes and run as CUDA graphs (graph_cache.h).
enum class Graphs {
  kNever,
  kAuto,   // where launching would take longer than computing
  kAlways  // as far as the GPU and the precision allow
};

struct LowRankPassOptions {
  Recompute recompute = Recompute::kNone;
  bool offload = false;     // keep the blocks' inputs in pinned host memory; needs a GPU
  std::int64_t tokens = 0;  // of the largest batch expected: memory for it is taken at once
  bool tune = true;         // time the algorithms for matrix products (corda/kernels/gemm_plans.h)
  Graphs graphs = Graphs::kAuto;
};

// The hand-written pass for frozen weights with plain LoRA factors (low_rank_block.h). Moves the
// projections' weights into its own layout; they stay usable through the model. Nothing is computed
// in the backward below the lowest block with an adapter. The model must satisfy
// `supports_low_rank_pass`.
std::unique_ptr<GradientPass> make_low_rank_pass(model::Model& model,
                                                 const LowRankPassOptions& options);

// Bytes that the pass takes for batches of `options.tokens`, beside the model and its factors:
// their copies in the compute dtype and gradients, activations, workspace, one chunk of logits.
std::int64_t low_rank_pass_bytes(model::Model& model, const LowRankPassOptions& options);

// Whether every adapted projection has a LoRA without dropout and magnitude, no projection is
// trained itself, and the weights have the compute dtype.
bool supports_low_rank_pass(model::Model& model);

}  // namespace corda::train
