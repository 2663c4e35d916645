// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/record_fields.h"

#include <cmath>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "data/text_reader.h"

namespace corda::data {

using core::Json;

void fail(const DataFile& file, const Record& record, std::string_view reason) {
  throw core::FormatError(located(file.path.string(), record.line, record.column, reason));
}

std::string columns_found(const Record& record) {
  std::vector<std::string> names;
  for (const auto& [name, value] : record.value.items()) {
    if (names.size() == 20) {
      names.emplace_back("...");
      break;
    }
    names.push_back(name.size() <= 60 ? name : name.substr(0, 60) + "...");
  }
  return names.empty() ? "none" : core::listed(names);
}

std::string column_of(const DataFile& file, const std::string& field) {
  const auto mapped = file.columns.find(field);
  return mapped == file.columns.end() ? field : mapped->second;
}

// The column itself, or, where its name has dots, a path into nested objects and lists; nullptr if
// absent.
const Json* find_column(const Json& object, const std::string& column) {
  if (object.is_object() && object.contains(column)) return &object.at(column);
  const Json* value = &object;
  for (const auto& part : core::split(column, '.')) {
    const auto index = core::parse_int(part);
    if (value->is_object() && value->contains(part)) {
      value = &value->at(part);
    } else if (value->is_array() && index && *index >= 0 &&
               *index < static_cast<std::int64_t>(value->size())) {
      value = &value->at(static_cast<std::size_t>(*index));
    } else {
      return nullptr;
    }
  }
  return value;
}

const Json* find_field(const DataFile& file, const Record& record, const std::string& field) {
  return find_column(record.value, column_of(file, field));
}

const Json* find_value(const DataFile& file, const Record& record, const std::string& field) {
  const Json* value = find_field(file, record, field);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void fail_missing(const DataFile& file, const Record& record, const std::string& format,
                  const std::string& field) {
  if (find_field(file, record, field) != nullptr) {
    fail(file, record,
         core::concat("the column '", column_of(file, field), "' is null, and the format '", format,
                      "' needs its value"));
  }
  fail(file, record,
       core::concat("the format '", format, "' needs the column '", column_of(file, field),
                    "'; the columns found are: ", columns_found(record),
                    "; name the right one with --columns ", field, "=COLUMN"));
}

bool is_beyond_reading(const Json& value) {
  return value.is_number_float() && std::abs(value.get<double>()) >= 0x1p63;
}

void fail_beyond_reading(const DataFile& file, const Record& record, const Json& value) {
  fail(file, record,
       core::concat("the number ", value.dump(),
                    " is too large for its digits to be kept; write it as text, in quotes"));
}

std::string string_of(const DataFile& file, const Record& record, const std::string& field,
                      const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) {
    if (is_beyond_reading(value)) fail_beyond_reading(file, record, value);
    return value.dump();
  }
  fail(file, record,
       core::concat("the column '", column_of(file, field),
                    "' must hold text; it holds a value of type ", value.type_name()));
}

std::string required_text(const DataFile& file, const Record& record, const std::string& format,
                          const std::string& field) {
  const Json* value = find_field(file, record, field);
  if (value == nullptr) fail_missing(file, record, format, field);
  return string_of(file, record, field, *value);
}

std::string optional_text(const DataFile& file, const Record& record, const std::string& field) {
  const Json* value = find_value(file, record, field);
  return value == nullptr ? std::string() : string_of(file, record, field, *value);
}

}  // namespace corda::data
