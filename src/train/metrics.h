// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is told of a step: metrics.jsonl, one object an optimizer step, the progress line, and
// forgetting.json, the newest reading of the gauge layer by layer.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "corda/adapter/forgetting.h"
#include "corda/train/train.h"
#include "core/fields.h"
#include "train/append_file.h"

namespace corda::train {

// What the progress line says of a step; utilisation only where it is known.
std::string progress_note(const StepMetrics& metrics);

core::Json to_json(const StepMetrics& metrics);
// The metrics of a step that was not evaluated. Throws FormatError.
StepMetrics metrics_from_json(const core::Fields& json);

// Writes the gauge of every changed layer after `step` steps, in place of an earlier one:
// {"step", "in_all", "layers": [{"module", "forgetting"}]}. Throws ResourceError.
void write_gauges(const std::filesystem::path& path, std::int64_t step,
                  const adapter::Gauges& gauges);
// Removes what `write_gauges` wrote of a step that a continuation takes again, or what is no such
// file's text.
void remove_gauges_behind(const std::filesystem::path& path, std::int64_t finished_steps);

// Lines that the disk has no room for wait in memory, and are written with a later one.
class MetricsFile {
 public:
  // Opens `path` for appending after cutting it back to the first `finished_steps` steps. Throws
  // ResourceError.
  MetricsFile(const std::filesystem::path& path, std::int64_t finished_steps);

  // Whether all lines so far are in the file.
  bool append(const StepMetrics& metrics);
  bool flush() { return file_->flush(); }
  // Why the last call failed, in words.
  std::string why() const { return file_->why(); }

 private:
  std::optional<AppendFile> file_;
};

}  // namespace corda::train
