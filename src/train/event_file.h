// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What TensorBoard reads: records of TensorFlow's format that hold its protobuf messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "corda/train/train.h"
#include "train/append_file.h"

namespace corda::train {

struct Scalar {
  std::string tag;
  double value = 0;
};

// CRC-32C (Castagnoli) as the records carry it: rotated and moved by a constant.
std::uint32_t masked_crc32c(std::string_view bytes);

// One record: length, its checksum, the bytes, theirs; all little-endian.
std::string event_record(std::string_view event);

// Messages of type Event at a time in seconds since 1970. `brain.Event:2` begins every file;
// `restart_event` says that what earlier files hold of `step` and later is void.
std::string version_event(double time);
std::string restart_event(double time, std::int64_t step);
std::string scalars_event(double time, std::int64_t step, const std::vector<Scalar>& scalars);

// The scalars of a step; an evaluation's, utilisation where they are known.
std::vector<Scalar> scalars_of(const StepMetrics& metrics);

// A file of events in a run directory, behind those that are there by its name's time.
class EventFile {
 public:
  // `first_step` is the first that will be appended. Where it is not step 1 an earlier process
  // wrote steps, and those from `first_step` on are declared void. Throws ResourceError.
  EventFile(const std::filesystem::path& directory, std::int64_t first_step);

  // Whether all steps so far are in the file.
  bool append(const StepMetrics& metrics);
  std::string why() const { return file_->why(); }

 private:
  std::optional<AppendFile> file_;
};

}  // namespace corda::train
