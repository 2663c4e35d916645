// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The records of one DataFile: opened, its format known, `first` and `count` applied.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "corda/core/error.h"
#include "corda/core/reporter.h"
#include "corda/data/load.h"
#include "data/formats.h"
#include "data/record_reader.h"

namespace corda::data {

using BadRecord = std::function<void(const core::FormatError&)>;

// How much of a plain text is read at a time where it need not be held whole.
inline constexpr std::int64_t kTextPartBytes = std::int64_t{1} << 20;

class RecordStream {
 public:
  // Throws ConfigError (wrong settings, nothing selected), IoError, FormatError (empty, or the
  // first selected record malformed).
  // With `bad`, a record that cannot be read or tells no format is handed to it and left out,
  // where the file can be read on behind it.
  // `part_bytes` above 0: a plain text comes as several records of so many bytes, which may end
  // within a character. `skip_switch`: what errors name as the way to leave out bad records.
  explicit RecordStream(DataFile file, BadRecord bad = {}, std::int64_t part_bytes = 0,
                        std::string skip_switch = kSkipSwitch);

  const DataFile& file() const { return file_; }
  // The format that was given or found, never "auto".
  const std::string& format() const { return format_; }
  bool detected() const { return file_.format == "auto"; }
  // What was noted of the columns of the first record.
  const ColumnNotes& notes() const { return notes_; }

  bool is_plain_text() const { return container_of(file_.path, file_.format) == Container::kText; }

  // The next selected record, not parsed.
  std::optional<RawRecord> next_raw();

 private:
  std::optional<RawRecord> read();
  void look_at(const RawRecord& raw);

  DataFile file_;
  BadRecord bad_;
  std::string skip_switch_;
  bool in_parts_ = false;
  std::unique_ptr<RecordReader> reader_;
  std::optional<RawRecord> head_;
  std::string format_;
  ColumnNotes notes_;
  std::int64_t given_ = 0;
};

// The error of a bad record, with how to leave such records out.
core::FormatError with_skip_advice(const core::FormatError& error,
                                   const std::string& skip_switch = kSkipSwitch);

// Reports which columns stay unread, and warns of what that loses.
void report_columns(const RecordStream& stream, core::Reporter& reporter);

}  // namespace corda::data
