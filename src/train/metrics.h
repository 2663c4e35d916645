// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is told of a step: metrics.jsonl, one object an optimizer step, and the progress line.
#pragma once

#include <filesystem>
#include <string>

#include "corda/train/train.h"
#include "core/fields.h"

namespace corda::train {

// What the progress line says of a step; utilisation only where it is known.
std::string progress_note(const StepMetrics& metrics);

core::Json to_json(const StepMetrics& metrics);
// The metrics of a step that was not evaluated. Throws FormatError.
StepMetrics metrics_from_json(const core::Fields& json);

// Lines that the disk has no room for wait in memory, and are written with a later one.
class MetricsFile {
 public:
  // Opens `path` for appending after cutting it back to the first `finished_steps` steps. Throws
  // ResourceError.
  MetricsFile(std::filesystem::path path, std::int64_t finished_steps);
  MetricsFile(const MetricsFile&) = delete;
  MetricsFile& operator=(const MetricsFile&) = delete;
  ~MetricsFile();

  // Whether all lines so far are in the file.
  bool append(const StepMetrics& metrics);
  bool flush();
  // Of the failure of the last call, in words.
  std::string why() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;  // of the whole lines in the file
  std::string waiting_;
  int error_ = 0;
};

}  // namespace corda::train
