// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The records of a data file one after the other, whatever container they come in.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/json.h"
#include "data/byte_source.h"

namespace corda::data {

// One JSON object and where it begins. A plain text file is one record with the column `text`.
struct Record {
  core::Json value;
  std::int64_t line = 1;
  std::int64_t column = 1;
};

// A record that was found but not parsed.
struct RawRecord {
  std::string text;  // the JSON of one object, or a plain text
  std::int64_t line = 1;
  std::int64_t column = 1;
  bool plain = false;
};

// Throws FormatError "FILE:LINE:COLUMN: reason". `name` is the file's.
Record parse_record(RawRecord raw, const std::string& name);

class RecordReader {
 public:
  virtual ~RecordReader() = default;
  // The next record, nothing at the end. Throws FormatError "FILE:LINE:COLUMN: reason".
  virtual std::optional<RawRecord> next_raw() = 0;
  // After next_raw() has thrown: moves behind the record that it could not read. False where the
  // end of that record cannot be known.
  virtual bool skip_bad() = 0;
};

enum class Container {
  kJson,  // a list of objects, or one object a line: the first byte that is no space says which
  kText,
  kCsv,    // the first line names the columns
  kTable,  // Parquet, Arrow
};

struct ReadLimits {
  std::int64_t record_bytes = std::int64_t{256} << 20;
  std::int64_t text_bytes = std::int64_t{2} << 30;
  // Above 0: plain text comes in parts of so many bytes, and text_bytes does not bound it.
  std::int64_t part_bytes = 0;
};

// What a file of that name and format (of DataFile) holds: .json, .jsonl and .ndjson are JSON, .csv
// and .tsv are CSV, each perhaps with .gz or .zst behind it; .parquet, .arrow and .feather are
// tables; any other name is plain text, unless the format is one with columns.
Container container_of(const std::filesystem::path& path, const std::string& format);

// Throws FormatError for a path whose name says that the file is neither JSON nor text (a table, an
// archive), where `format` is auto: its bytes would be read as a text.
void refuse_other_containers(const std::filesystem::path& path, const std::string& format);

// `source` may be gzip or zstd and is no table; `name` is for messages. A cell of a CSV that holds
// a JSON list is one where its column is in `json_columns`.
std::unique_ptr<RecordReader> open_records(std::unique_ptr<ByteSource> source, std::string name,
                                           Container container, ReadLimits limits = {},
                                           const std::set<std::string>& json_columns = {});

}  // namespace corda::data
