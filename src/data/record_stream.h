// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The records of one DataFile: opened, its format known, `first` and `count` applied.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "data/formats.h"
#include "data/record_reader.h"

namespace corda::data {

class RecordStream {
 public:
  // Throws ConfigError (wrong settings, nothing selected), IoError, FormatError (empty or
  // malformed).
  explicit RecordStream(DataFile file);

  const DataFile& file() const { return file_; }
  // Never "auto".
  const std::string& format() const { return format_; }
  bool detected() const { return file_.format == "auto"; }

  // The next selected record; at least one comes.
  std::optional<Record> next();

 private:
  DataFile file_;
  std::unique_ptr<RecordReader> reader_;
  std::optional<Record> head_;
  std::string format_;
  std::int64_t given_ = 0;
};

}  // namespace corda::data
