// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "corda/core/error.h"

namespace corda::core {

namespace {

constexpr int kMaxDepth = 512;

// "LINE:COLUMN" of a byte offset.
std::string position(std::string_view text, std::size_t offset, std::int64_t first_line) {
  offset = std::min(offset, text.size());
  const std::string_view before = text.substr(0, offset);
  const auto line = first_line + std::count(before.begin(), before.end(), '\n');
  const std::size_t newline = before.rfind('\n');
  const std::size_t column = newline == std::string_view::npos ? offset + 1 : offset - newline;
  return concat(line, ":", column);
}

// nlohmann's reason without its own position and error number.
std::string reason(const std::string& what) {
  const auto begin = what.find(": ");
  std::string text = begin == std::string::npos ? what : what.substr(begin + 2);
  return text.size() > 300 ? text.substr(0, 300) + "..." : text;
}

bool all_finite(const Json& value) {
  if (value.is_number_float()) return std::isfinite(value.get<double>());
  if (value.is_structured()) return std::all_of(value.begin(), value.end(), all_finite);
  return true;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source, std::int64_t first_line) {
  std::vector<std::set<std::string>> keys;
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth)
      throw FormatError(concat(source, ": JSON nested deeper than ", kMaxDepth, " levels"));
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      throw FormatError(concat(source, ": the JSON key '", parsed.get<std::string>(),
                               "' stands twice in one object (near line ", first_line, ")"));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), callback);
  } catch (const Json::parse_error& error) {
    const std::size_t offset = error.byte > 0 ? error.byte - 1 : 0;
    throw FormatError(concat(source, ":", position(text, offset, first_line),
                             ": not valid JSON: ", reason(error.what())));
  } catch (const Json::exception& error) {
    throw FormatError(concat(source, ":", first_line, ": not valid JSON: ", reason(error.what())));
  }
}

Json read_json(const fs::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const fs::path& path, const Json& value) {
  if (!all_finite(value))
    throw FormatError(
        concat("'", path.string(), "' would hold a NaN or an infinity, which JSON cannot"));
  write_file_atomic(path, value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

const Json& require_key(const Json& object, const char* key, const std::string& source) {
  if (!object.is_object() || !object.contains(key))
    throw FormatError(concat(source, ": the key '", key, "' is missing"));
  return object.at(key);
}

}  // namespace corda::core
