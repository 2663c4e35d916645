// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Saving and restoring a run. Layout of RUN/checkpoints/step-N: state.safetensors (parameters and
// optimizer moments), state.json (step, settings), written last by renaming the whole directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "corda/core/config_node.h"
#include "corda/train/optimizer.h"

namespace corda::train {

namespace fs = std::filesystem;

// Saves after `step` finished steps, then removes all but the newest `keep` checkpoints.
void save_checkpoint(const fs::path& run, std::int64_t step, const AdamW& optimizer,
                     const core::ConfigNode& settings, std::int64_t keep);

// The newest complete checkpoint, if any. A directory that was never completed is not one.
std::optional<fs::path> latest_checkpoint(const fs::path& run);

// Restores parameters and moments in place; returns the number of finished steps. Throws
// ConfigError where a setting that changes the result differs from the one saved, FormatError where
// tensors do not fit.
std::int64_t restore_checkpoint(const fs::path& checkpoint, const AdamW& optimizer,
                                const core::ConfigNode& settings);

}  // namespace corda::train
