// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the metrics.jsonl of a run says of its evaluations.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "corda/core/config_node.h"

namespace corda::card {

struct Evaluation {
  std::int64_t step = 0;
  double loss = 0;
};

struct Evaluations {
  std::int64_t steps = 0;  // of the run so far
  std::optional<Evaluation> last;
  // Of those since the evaluation data last changed (`eval_data`), the first of the lowest loss.
  std::optional<Evaluation> lowest;
};

// Leaves out lines that cannot be read, as the last one of a run that was killed; a step that is
// not above the one before takes its place and that of all behind it. Throws IoError.
Evaluations read_evaluations(const std::filesystem::path& metrics);

// Whether a run with these settings (config.resolved.yaml) leaves the result of its lowest
// evaluation loss.
bool keeps_best(const core::ConfigNode& settings);

}  // namespace corda::card
