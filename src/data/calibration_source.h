// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The records of calibration files, read as often as they are needed.
#pragma once

#include <functional>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/data/load.h"
#include "data/record_encoder.h"
#include "data/record_stream.h"

namespace corda::data {

class CalibrationSource {
 public:
  // `is_part`: a plain text that goes on where the record before ended.
  using Visit = std::function<void(const RecordStream& stream, const Record& record, bool is_part)>;

  // Everything given outlives it.
  CalibrationSource(const std::vector<DataFile>& files, const CalibrationSettings& settings,
                    RecordEncoder& encoder, core::Reporter& reporter)
      : files_(files), settings_(settings), encoder_(encoder), reporter_(reporter) {}

  // Visits every record that can be parsed; what was chosen and skipped is reported the first time.
  // Throws ConfigError where documents and instructions mix.
  void read(const Visit& visit);
  // Whether the files hold documents (text, qa).
  bool documents() const;

 private:
  BadRecord quiet() const;
  BadRecord reporting();
  void read_file(const DataFile& file, const Visit& visit);

  const std::vector<DataFile>& files_;
  const CalibrationSettings& settings_;
  RecordEncoder& encoder_;
  core::Reporter& reporter_;
  bool documents_ = false;
  bool first_time_ = true;
};

}  // namespace corda::data
