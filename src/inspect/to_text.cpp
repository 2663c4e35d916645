// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/quantity.h"
#include "corda/core/text.h"
#include "corda/inspect/inspect.h"
#include "core/json.h"

namespace corda::inspect {

using core::Json;

namespace {

std::string words(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

std::string value_text(const std::string& key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_null()) return "-";
  if (value.is_number_integer()) {
    const auto count = value.get<std::int64_t>();
    return key == "bytes" || key.ends_with("_bytes") ? core::size_text(count)
                                                     : core::grouped(count);
  }
  if (value.is_number()) return core::four_digits(value.get<double>());
  std::vector<std::string> parts;
  for (const Json& item : value) parts.push_back(value_text("", item));
  return core::join(parts, ", ");
}

bool is_table(const Json& value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return !core::is_utf8_continuation(c); }));
}

void add_table(const Json& rows, const std::string& indent, std::string& text) {
  std::vector<std::string> keys;
  for (const Json& row : rows) {
    for (const auto& [key, value] : row.items()) {
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  std::vector<std::vector<std::string>> cells(1);
  for (const auto& key : keys) cells.front().push_back(words(key));
  for (const Json& row : rows) {
    cells.emplace_back();
    for (const auto& key : keys)
      cells.back().push_back(row.contains(key) ? value_text(key, row[key]) : "");
  }
  std::vector<std::size_t> widths(keys.size(), 0);
  for (const auto& row : cells) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  for (const auto& row : cells) {
    std::string line = indent;
    for (std::size_t i = 0; i < row.size(); ++i)
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
}

void add_object(const Json& object, const std::string& indent, std::string& text) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      text += indent + words(key) + ":\n";
      add_object(value, indent + "  ", text);
    } else if (is_table(value)) {
      text += indent + words(key) + ":\n";
      add_table(value, indent + "  ", text);
    } else {
      text += core::concat(indent, words(key), ": ", value_text(key, value), "\n");
    }
  }
}

}  // namespace

std::string to_text(const std::string& json) {
  std::string text;
  add_object(core::parse_json(json, "inspect"), "", text);
  return text;
}

}  // namespace corda::inspect
