// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The records of one DataFile: opened, its format known, `first` and `count` applied.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "corda/core/error.h"
#include "data/formats.h"
#include "data/record_reader.h"

namespace corda::data {

using BadRecord = std::function<void(const core::FormatError&)>;

class RecordStream {
 public:
  // Throws ConfigError (wrong settings, nothing selected), IoError, FormatError (empty, or the
  // first selected record malformed).
  // With `bad`, a record that cannot be read or tells no format is handed to it and left out,
  // where the file can be read on behind it.
  explicit RecordStream(DataFile file, BadRecord bad = {});

  const DataFile& file() const { return file_; }
  // Never "auto".
  const std::string& format() const { return format_; }
  bool detected() const { return file_.format == "auto"; }

  // The next selected record, not parsed.
  std::optional<RawRecord> next_raw();
  std::optional<Record> next();

 private:
  std::optional<RawRecord> read();

  DataFile file_;
  BadRecord bad_;
  std::unique_ptr<RecordReader> reader_;
  std::optional<RawRecord> head_;
  std::string format_;
  std::int64_t given_ = 0;
};

}  // namespace corda::data
