// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/table_reader.h"

namespace corda::data {

namespace {

// The columns that hold lists: of a CSV they are JSON in a cell.
std::set<std::string> list_columns(const DataFile& file) {
  std::set<std::string> columns;
  for (const char* field :
       {"messages", "conversations", "tools", "functions", "answers", "history"}) {
    const auto mapped = file.columns.find(field);
    columns.insert(mapped == file.columns.end() ? field : mapped->second);
  }
  return columns;
}

}  // namespace

RecordStream::RecordStream(DataFile file, BadRecord bad, std::int64_t part_bytes,
                           std::string skip_switch)
    : file_(std::move(file)),
      bad_(std::move(bad)),
      skip_switch_(std::move(skip_switch)),
      in_parts_(part_bytes > 0 && is_plain_text()) {
  const std::string name = file_.path.string();
  check_format(file_);
  refuse_other_containers(file_.path, file_.format);
  if (file_.first < 0 || file_.count == 0 || file_.count < -1) {
    throw core::ConfigError(core::concat(
        "'", name, "': first must be 0 or more and count positive (or -1 for all); they are ",
        file_.first, " and ", file_.count));
  }
  const Container container = container_of(file_.path, file_.format);
  reader_ = container == Container::kTable
                ? open_table(file_.path)
                : open_records(open_file(file_.path), name, container,
                               ReadLimits{.part_bytes = part_bytes}, list_columns(file_));
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
  while (format_.empty()) {
    try {
      look_at(*head_);
    } catch (const core::FormatError& error) {
      if (!bad_) throw;
      bad_(error);
      head_ = read();
      if (!head_) throw;
    }
  }
}

// What the first record says of the file.
void RecordStream::look_at(const RawRecord& raw) {
  if (raw.plain) {  // may be long, and its text says nothing of that
    format_ = detect_format(file_, Record{.value = {{"text", ""}}});
    return;
  }
  Record record;
  try {
    record = parse_record(raw, file_.path.string());
  } catch (const core::FormatError& error) {
    if (bad_) throw;
    throw with_skip_advice(error, skip_switch_);
  }
  const std::string format = detect_format(file_, record);
  notes_ = column_notes(file_, record, format);
  format_ = format;
}

std::optional<RawRecord> RecordStream::read() {
  while (true) {
    try {
      return reader_->next_raw();
    } catch (const core::FormatError& error) {
      if (!reader_->skip_bad()) throw;
      if (!bad_) throw with_skip_advice(error, skip_switch_);
      bad_(error);
    }
  }
}

core::FormatError with_skip_advice(const core::FormatError& error, const std::string& skip_switch) {
  return core::FormatError(
      core::concat(error.what(), "; bad records are left out, and listed, with ", skip_switch));
}

void report_columns(const RecordStream& stream, core::Reporter& reporter) {
  const ColumnNotes& notes = stream.notes();
  const std::string name = stream.file().path.string();
  for (const auto& warning : notes.warnings) reporter.warn(warning);
  for (const auto& remark : notes.remarks) reporter.info(core::concat(name, ": ", remark));
  std::vector<std::string> names(
      notes.unread.begin(),
      notes.unread.begin() + std::min<std::ptrdiff_t>(std::ssize(notes.unread), 20));
  if (names.size() < notes.unread.size()) names.emplace_back("...");
  if (names.empty()) return;
  reporter.info(core::concat(name, ": columns that are not read: ", core::listed(names)));
}

std::optional<RawRecord> RecordStream::next_raw() {
  if (!in_parts_ && file_.count >= 0 && given_ == file_.count) return std::nullopt;
  ++given_;
  if (head_) return std::exchange(head_, std::nullopt);
  return read();
}

}  // namespace corda::data
