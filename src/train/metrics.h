// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// metrics.jsonl: one object an optimizer step.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "corda/train/train.h"
#include "core/json.h"

namespace corda::train {

core::Json to_json(const StepMetrics& metrics);
// Throws FormatError naming `source`.
StepMetrics metrics_from_json(const core::Json& json, const std::string& source);

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
