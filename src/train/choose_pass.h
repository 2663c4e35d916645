// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which gradient pass a run uses, from its settings, the model and the memory there is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/model/model.h"
#include "corda/train/settings.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/sharded_parameters.h"

namespace corda::train {

// Whether a run with these settings trains weights that are split over ranks, and so computes every
// block again in the backward.
bool splits_parameters(const TrainSettings& settings);
// Whether `base` asks for the frozen layers in codes.
bool asks_for_codes(const TrainSettings& settings);
// Whether the settings ask for what the fused pass alone can do.
bool asks_for_fused(const TrainSettings& settings);
// Whether the method can have that pass: a LoRA without dropout, no DoRA.
bool method_can_be_fused(const TrainSettings& settings);
// Why a run cannot have the fused pass; `obstacle` completes the sentence "this run ...".
std::string fused_refusal(const std::string& obstacle);

struct ChosenPass {
  std::unique_ptr<GradientPass> pass;
  // What the settings of these names became.
  std::string gradients;
  std::string recompute;
  std::string offload;
  // Puts the three decisions in the places of `auto`.
  void record_in(TrainSettings& settings) const;
};

// The tokens of the largest sample and of the largest passes that a run can have.
struct LargestBatches {
  std::int64_t sample = 0;
  std::int64_t micro_batch = 0;
  std::int64_t evaluated = 0;  // forward pass of an evaluation between steps; 0: there is none
};

// The fused pass's options that the settings allow, from the fastest to the smallest, for
// micro-batches of so many tokens.
std::vector<LowRankPassOptions> allowed_options(const TrainSettings& settings, std::int64_t tokens);

// What must be free beside a pass: an evaluation between steps, and the workspaces of libraries.
std::int64_t bytes_beside(const model::Model& model, const LargestBatches& largest);

// Throws ConfigError where 'precision: fp8' would do no product of the model in float8.
void require_float8_layers(const model::Model& model);

// Throws ConfigError where a GPU of this name and compute capability cannot run 'precision: fp8'.
void require_float8_gpu(const std::string& gpu, int major, int minor);

// Throws ConfigError where the settings ask for a pass that the model's adapters or the device do
// not allow. Looks at no value of a tensor.
void check_pass_settings(const TrainSettings& settings, const model::Model& model,
                         at::Device device);

// `sharded`: where the model's parameters lie, if ranks share them. The GPU keeps room for an
// evaluation. Says what was chosen, and warns where nothing seems to fit.
// Throws ConfigError where the settings ask for a pass that the model's adapters do not allow,
// ResourceError where the pass's memory is not there.
ChosenPass choose_pass(const TrainSettings& settings, model::Model& model,
                       const LargestBatches& largest, core::Reporter& reporter,
                       ShardedParameters* sharded = nullptr);

}  // namespace corda::train
