// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What stands in a run directory, and which runs may take it up.
#pragma once

#include <filesystem>
#include <string>

#include "corda/train/settings.h"

namespace corda::train {

namespace fs = std::filesystem;

inline constexpr const char* kResolvedName = "config.resolved.yaml";
inline constexpr const char* kMetricsName = "metrics.jsonl";
inline constexpr const char* kGaugesName = "forgetting.json";
inline constexpr const char* kReservedName = "reserved-space";  // for the result

// What a run leaves when it is complete.
fs::path result_of(const TrainSettings& settings);

// Throws ConfigError where the run directory holds another run than the one that is asked for: a
// finished one, without `resume` one that made steps, with `resume` one that made steps and has no
// checkpoint to go on from. One of which nothing is there yet may always begin.
void check_run_directory(const TrainSettings& settings, bool resume);

// Throws ResourceError where a directory cannot be made at `path` or written to: makes it and takes
// it away again.
void check_writable(const fs::path& path);

// The day that a run's templates show: of its start.
std::string date_of(const fs::path& run, bool resume);

}  // namespace corda::train
