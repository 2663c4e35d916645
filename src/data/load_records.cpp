// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utility>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "data/record_stream.h"

namespace corda::data {

namespace {

RecordStream open_as(DataFile file, const char* format) {
  if (file.format != "auto" && file.format != format) {
    throw core::ConfigError(core::concat("'", file.path.string(), "' is wanted in the format '",
                                         format, "' here, but was given as '", file.format, "'"));
  }
  file.format = format;
  return RecordStream(std::move(file));
}

}  // namespace

std::string detect_format(const DataFile& file) { return RecordStream(file).format(); }

std::vector<QaRecord> load_qa(const DataFile& file) {
  RecordStream stream = open_as(file, "qa");
  std::vector<QaRecord> records;
  while (const auto record = stream.next()) records.push_back(qa_of(stream.file(), *record));
  return records;
}

std::vector<std::string> load_text(const DataFile& file) {
  RecordStream stream = open_as(file, "text");
  std::vector<std::string> documents;
  while (const auto record = stream.next()) documents.push_back(text_of(stream.file(), *record));
  return documents;
}

}  // namespace corda::data
