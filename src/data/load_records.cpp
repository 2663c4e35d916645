// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "data/mistakes.h"
#include "data/record_stream.h"

namespace corda::data {

namespace {

// Gives every record of a file in that format to `take`, or leaves it out where it is bad.
template <typename Take>
void read_as(DataFile file, const char* format, bool skip_bad, core::Reporter& reporter,
             const Take& take) {
  if (file.format != "auto" && file.format != format) {
    throw core::ConfigError(core::concat("'", file.path.string(), "' is wanted in the format '",
                                         format, "' here, but was given as '", file.format, "'"));
  }
  file.format = format;
  std::int64_t bad = 0;
  const auto skip = [&](const core::FormatError& error) {
    if (bad++ < kRecordsListed) reporter.warn(core::concat("skipped: ", error.what()));
  };
  RecordStream stream(std::move(file), skip_bad ? BadRecord(skip) : BadRecord());
  report_columns(stream, reporter);
  while (auto raw = stream.next_raw()) {
    try {
      take(stream.file(), parse_record(std::move(*raw), stream.file().path.string()));
    } catch (const core::FormatError& error) {
      if (!skip_bad) throw with_skip_advice(error);
      skip(error);
    }
  }
  if (bad > 0) reporter.warn(core::concat(bad, " bad records were skipped"));
}

}  // namespace

std::string detect_format(const DataFile& file, bool skip_bad) {
  const BadRecord pass = skip_bad ? BadRecord([](const core::FormatError&) {}) : BadRecord();
  return RecordStream(file, pass, kTextPartBytes).format();
}

std::int64_t count_records(const DataFile& file, bool skip_bad, const std::string& skip_switch) {
  const BadRecord pass = skip_bad ? BadRecord([](const core::FormatError&) {}) : BadRecord();
  RecordStream stream(file, pass, kTextPartBytes, skip_switch);
  if (stream.is_plain_text()) return 1;
  std::int64_t records = 0;
  while (auto raw = stream.next_raw()) {
    try {
      if (skip_bad) parse_record(std::move(*raw), file.path.string());
      ++records;
    } catch (const core::FormatError& error) {
      pass(error);
    }
  }
  return records;
}

std::vector<QaRecord> load_qa(const DataFile& file, bool skip_bad, core::Reporter& reporter) {
  std::vector<QaRecord> records;
  read_as(file, "qa", skip_bad, reporter, [&](const DataFile& from, const Record& record) {
    records.push_back(qa_of(from, record));
  });
  return records;
}

std::vector<std::string> load_text(const DataFile& file, bool skip_bad, core::Reporter& reporter) {
  std::vector<std::string> documents;
  read_as(file, "text", skip_bad, reporter, [&](const DataFile& from, const Record& record) {
    documents.push_back(text_of(from, record));
  });
  return documents;
}

}  // namespace corda::data
