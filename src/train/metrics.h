// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// metrics.jsonl: one object an optimizer step.
#pragma once

#include <filesystem>
#include <fstream>

#include "corda/train/train.h"

namespace corda::train {

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
