// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gradients of LoRA factors on frozen weights, by a forward and a backward written by hand.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "corda/model/model.h"
#include "train/gradient_pass.h"
#include "train/recompute.h"

namespace corda::train {

// Whether batches are filled up to a few sizes and run as CUDA graphs (graph_cache.h).
enum class Graphs {
  kNever,
  kAuto,   // where launching would take longer than computing
  kAlways  // as far as the GPU and the precision allow
};

// How the algorithms of matrix products are chosen (corda/kernels/gemm_plans.h).
enum class Tuning {
  kOff,   // cuBLASLt's first proposals
  kKept,  // what is kept in the directory; nothing is timed and nothing more is kept
  kTimed  // that, or else the fastest by trial
};

struct LowRankPassOptions {
  Recompute recompute = Recompute::kNone;
  bool offload = false;     // keep the blocks' inputs in pinned host memory; needs a GPU
  std::int64_t tokens = 0;  // of the largest batch expected: memory for it is taken at once
  Tuning tuning = Tuning::kTimed;
  std::string tuning_cache = {};  // directory that keeps the fastest; empty: none does
  Graphs graphs = Graphs::kAuto;
  bool float8 = false;  // multiply by the frozen weights in float8 (float8_weight.h)
};

// The hand-written pass for frozen weights with plain LoRA factors (low_rank_block.h). Moves the
// layers' weights into its own layout; they stay usable through the model. Nothing is computed in
// the backward below the lowest block with an adapter. The model must satisfy
// `supports_low_rank_pass`.
std::unique_ptr<GradientPass> make_low_rank_pass(model::Model& model,
                                                 const LowRankPassOptions& options);

// Bytes that the pass takes for batches of `options.tokens`, beside the model and its factors:
// their copies in the compute dtype and gradients, activations, workspace, one chunk of logits.
std::int64_t low_rank_pass_bytes(const model::Model& model, const LowRankPassOptions& options);

// What `float8` of LowRankPassOptions comes to: the layers whose frozen products it does in float8,
// those that are no multiples of 128 wide being left in bf16.
struct Float8Part {
  std::int64_t layers = 0;
  std::int64_t all_layers = 0;
  double share = 0;            // of the blocks' weights
  bool is_on_the_fly = false;  // for each product, from weights that are held otherwise
};
Float8Part float8_part(const model::Model& model);

// Whether every adapted layer has a LoRA without dropout and magnitude, no layer is trained itself,
// and the weights have the compute dtype.
bool supports_low_rank_pass(const model::Model& model);

}  // namespace corda::train
