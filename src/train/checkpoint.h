// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Saving and restoring a run. Layout of RUN/checkpoints/step-N: state.safetensors (parameters and
// optimizer moments), state.json (step, settings, and the metrics of the last step where its
// evaluation was interrupted); complete because the whole directory is renamed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "corda/core/config_node.h"
#include "corda/train/optimizer.h"
#include "corda/train/train.h"

namespace corda::train {

namespace fs = std::filesystem;

// Saves after `step` finished steps, with the settings that a continuation must share, then removes
// all but the newest `keep` checkpoints. `unevaluated`: the last of these steps, whose evaluation
// is still to be done.
void save_checkpoint(const fs::path& run, std::int64_t step, const AdamW& optimizer,
                     const core::ConfigNode& settings, std::int64_t keep,
                     const std::optional<StepMetrics>& unevaluated = {});

// Removes what a killed process left in the run directory: checkpoints that were never completed or
// half removed, and files that were not yet renamed.
void remove_leftovers(const fs::path& run);

// The newest complete checkpoint, if any. A directory that was never completed is not one.
std::optional<fs::path> latest_checkpoint(const fs::path& run);

struct Progress {
  std::int64_t steps = 0;  // finished
  std::optional<StepMetrics> unevaluated;
};

// Restores parameters and moments in place. Throws ConfigError where a setting that changes the
// result differs from the one saved, FormatError, which names the checkpoint to go on from without
// it, where it is damaged.
Progress restore_checkpoint(const fs::path& checkpoint, const AdamW& optimizer,
                            const core::ConfigNode& settings);

}  // namespace corda::train
