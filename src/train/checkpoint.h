// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Saving and restoring a run. Layout of RUN/checkpoints/step-N: state.safetensors (parameters and
// optimizer moments), state.json (step, settings, the lowest evaluation loss, and the metrics of
// the last step where its evaluation was interrupted); complete because the whole directory is
// renamed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/config_node.h"
#include "corda/train/train.h"
#include "train/best_result.h"
#include "train/trained_state.h"

namespace corda::train {

namespace fs = std::filesystem;

struct Progress {
  std::int64_t steps = 0;  // finished
  // The last of these steps, where its evaluation is still to be done.
  std::optional<StepMetrics> unevaluated = {};
  std::optional<BestSoFar> best = {};
};

// Saves the state, with the settings that a continuation must share, then removes all but the
// newest `keep` checkpoints. The metrics of the steps before are on the disk first.
void save_checkpoint(const fs::path& run, const Progress& progress, const StateTensors& state,
                     const core::ConfigNode& settings, std::int64_t keep);

// Removes what a killed process left in the run directory: checkpoints that were never completed or
// half removed, and files that were not yet renamed.
void remove_leftovers(const fs::path& run);

// The newest complete checkpoint, if any. A directory that was never completed is not one.
std::optional<fs::path> latest_checkpoint(const fs::path& run);

// The checkpoint's step. Throws ConfigError where a setting that changes the result differs from
// the one saved, and as restore_checkpoint where what is saved of them is damaged.
std::int64_t check_same_run(const fs::path& checkpoint, const core::ConfigNode& settings);

// Throws ConfigError where the checkpoint is of a step behind the run's last.
void check_not_behind_end(const fs::path& checkpoint, std::int64_t step, std::int64_t total);

// Restores parameters and moments in place. Throws ConfigError where a setting that changes the
// result differs from the one saved, FormatError, which names the checkpoint to go on from without
// it, where it is damaged.
Progress restore_checkpoint(const fs::path& checkpoint, TrainedState& state,
                            const core::ConfigNode& settings);

}  // namespace corda::train
