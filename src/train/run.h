// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A training run with a gradient pass of the caller's choice.
#pragma once

#include <functional>

#include "corda/dist/world.h"
#include "corda/train/train.h"
#include "train/choose_pass.h"

namespace corda::train {

using PassChooser = std::function<ChosenPass(const TrainSettings& settings, model::Model& model,
                                             const LargestBatches& largest,
                                             core::Reporter& reporter, ShardedParameters* sharded)>;

// Whom a run speaks to and works with, and how its pass is chosen.
struct RunEnvironment {
  core::Reporter& reporter;
  dist::World& world;
  PassChooser choose;
};

// `train` (corda/train/train.h) is this with `choose_pass`.
TrainResult run(const TrainSettings& settings, bool resume, const RunEnvironment& environment);

}  // namespace corda::train
