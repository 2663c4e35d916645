// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The columns of a record by the fields of a format, with errors that say where.
#pragma once

#include <string>
#include <string_view>

#include "corda/data/sample.h"
#include "data/record_reader.h"

namespace corda::data {

// Throws FormatError "FILE:LINE:COLUMN: reason".
[[noreturn]] void fail(const DataFile& file, const Record& record, std::string_view reason);
[[noreturn]] void fail_missing(const DataFile& file, const Record& record,
                               const std::string& format, const std::string& field);

// The names of the record's columns, for messages.
std::string columns_found(const Record& record);
std::string column_of(const DataFile& file, const std::string& field);
// nullptr where the record has no such column.
const core::Json* find_field(const DataFile& file, const Record& record, const std::string& field);

// nullptr also where the column holds null.
const core::Json* find_value(const DataFile& file, const Record& record, const std::string& field);

// Whether a number is one whose digits reading has not kept: JSON integers beyond 64 bits become
// floating point.
bool is_beyond_reading(const core::Json& value);
[[noreturn]] void fail_beyond_reading(const DataFile& file, const Record& record,
                                      const core::Json& value);

// The text of a string or number.
std::string string_of(const DataFile& file, const Record& record, const std::string& field,
                      const core::Json& value);
std::string required_text(const DataFile& file, const Record& record, const std::string& format,
                          const std::string& field);
// "" where the column is absent or null.
std::string optional_text(const DataFile& file, const Record& record, const std::string& field);

}  // namespace corda::data
