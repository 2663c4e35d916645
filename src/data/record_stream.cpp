// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_stream.h"

#include <utility>

#include "corda/core/error.h"

namespace corda::data {

RecordStream::RecordStream(DataFile file, BadRecord bad, std::int64_t part_bytes)
    : file_(std::move(file)), bad_(std::move(bad)), in_parts_(part_bytes > 0 && is_plain_text()) {
  const std::string name = file_.path.string();
  check_format(file_);
  refuse_other_containers(file_.path, file_.format);
  if (file_.first < 0 || file_.count == 0 || file_.count < -1) {
    throw core::ConfigError(core::concat(
        "'", name, "': first must be 0 or more and count positive (or -1 for all); they are ",
        file_.first, " and ", file_.count));
  }
  reader_ = open_records(open_file(file_.path), name, container_of(file_.path, file_.format),
                         ReadLimits{.part_bytes = part_bytes});
  head_ = read();
  if (!head_)
    throw core::FormatError(core::concat(name, ": the file is empty; it holds no record"));
  for (std::int64_t skipped = 0; skipped < file_.first; ++skipped) {
    head_ = in_parts_ ? std::nullopt : read();
    if (!head_) {
      throw core::ConfigError(core::concat("'", name, "' has ", skipped + 1, " records; first = ",
                                           file_.first, " leaves none of them"));
    }
  }
  if (!detected()) format_ = file_.format;
  while (format_.empty()) {
    try {
      format_ = detect_format(file_, parse_record(*head_, name));
    } catch (const core::FormatError& error) {
      if (!bad_) throw;
      bad_(error);
      head_ = read();
      if (!head_) throw;
    }
  }
}

std::optional<RawRecord> RecordStream::read() {
  while (true) {
    try {
      return reader_->next_raw();
    } catch (const core::FormatError& error) {
      if (!bad_ || !reader_->skip_bad()) throw;
      bad_(error);
    }
  }
}

std::optional<Record> RecordStream::next() {
  auto raw = next_raw();
  if (!raw) return std::nullopt;
  return parse_record(std::move(*raw), file_.path.string());
}

std::optional<RawRecord> RecordStream::next_raw() {
  if (!in_parts_ && file_.count >= 0 && given_ == file_.count) return std::nullopt;
  ++given_;
  if (head_) return std::exchange(head_, std::nullopt);
  return read();
}

}  // namespace corda::data
