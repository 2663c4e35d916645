// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/calibration_source.h"

#include <string>
#include <utility>

#include "corda/core/error.h"

namespace corda::data {

namespace {

bool is_document(const RecordStream& stream) {
  return stream.format() == "text" || stream.format() == "qa";
}

}  // namespace

void CalibrationSource::read(const Visit& visit) {
  for (const auto& file : files_) read_file(file, visit);
  first_time_ = false;
}

bool CalibrationSource::documents() const {
  return is_document(
      RecordStream(files_.front(), quiet(), kTextPartBytes, settings_.encode.skip_switch));
}

BadRecord CalibrationSource::quiet() const {
  return settings_.encode.skip_bad ? BadRecord([](const core::FormatError&) {}) : BadRecord();
}

BadRecord CalibrationSource::reporting() {
  if (!settings_.encode.skip_bad || !first_time_) return quiet();
  return [this](const core::FormatError& error) {
    reporter_.warn(core::concat("skipped: ", error.what()));
  };
}

void CalibrationSource::read_file(const DataFile& file, const Visit& visit) {
  const BadRecord bad = reporting();
  RecordStream stream(file, bad, kTextPartBytes, settings_.encode.skip_switch);
  const bool document = is_document(stream);
  if (&file != &files_.front() && document != documents_) {
    throw core::ConfigError(core::concat("'", file.path.string(), "' has the format ",
                                         stream.format(),
                                         ": calibration cannot mix documents (text, qa) and "
                                         "instructions; calibrate on each alone"));
  }
  documents_ = document;
  const std::string name = document ? "" : encoder_.template_of(stream.format());
  if (first_time_) report_columns(stream, reporter_);
  std::int64_t records = 0;
  while (auto raw = stream.next_raw()) {
    const bool is_part = raw->plain && records > 0;
    if (records++ % 256 == 0) core::throw_if_stopped(reporter_, "reading calibration data");
    try {
      const Record record = parse_record(std::move(*raw), file.path.string());
      visit(stream, record, is_part);
    } catch (const core::FormatError& error) {
      if (!bad) throw with_skip_advice(error, settings_.encode.skip_switch);
      bad(error);
    }
  }
  if (!first_time_) return;
  if (stream.is_plain_text()) records = 1;
  reporter_.info(core::concat(file.path.string(), ": ", records, " records, format ",
                              stream.format(), stream.detected() ? " (detected)" : "",
                              document ? "" : ", template ", name));
}

}  // namespace corda::data
