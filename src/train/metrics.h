// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is told of a step: metrics.jsonl, one object an optimizer step, and the progress line.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "corda/train/train.h"
#include "core/fields.h"

namespace corda::train {

// What the progress line says of a step; utilisation only where it is known.
std::string progress_note(const StepMetrics& metrics);

core::Json to_json(const StepMetrics& metrics);
// The metrics of a step that was not evaluated. Throws FormatError.
StepMetrics metrics_from_json(const core::Fields& json);

class MetricsFile {
 public:
  // Opens `path` for appending after cutting it back to the first `finished_steps` steps.
  MetricsFile(std::filesystem::path path, std::int64_t finished_steps);
  // Appends and flushes. Throws ResourceError where the disk is full.
  void append(const StepMetrics& metrics);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace corda::train
