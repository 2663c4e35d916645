// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "json.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <optional>
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

// nlohmann's reason without its own error number and position.
std::string reason(const std::string& what) {
  std::string text = what;
  for (const char* end : {"] ", ": "})
    if (const auto at = text.find(end); at != std::string::npos) text.erase(0, at + 2);
  return text.size() > 300 ? text.substr(0, 300) + "..." : text;
}

// The place of the first number that is not finite, "/layers/0/energy"; nothing where all are.
std::optional<std::string> place_not_finite(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return "";
  if (!value.is_structured()) return std::nullopt;
  for (const auto& [key, item] : value.items()) {
    if (const auto inside = place_not_finite(item)) return "/" + key + *inside;
  }
  return std::nullopt;
}

// What is wrong with JSON that is well formed.
struct Refusal {
  std::string reason;
};

// Throws Refusal and nlohmann's exceptions.
template <typename Iterator>
Json parse_strictly(Iterator begin, Iterator end) {
  std::vector<std::set<std::string>> keys;
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) throw Refusal{concat("JSON nested deeper than ", kMaxDepth, " levels")};
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      throw Refusal{
          concat("the JSON key '", parsed.get<std::string>(), "' stands twice in one object")};
    }
    return true;
  };
  return Json::parse(begin, end, callback);
}

// An iterator that remembers how far it was read.
struct CountingIterator {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at = nullptr;
  const char** furthest = nullptr;

  const char& operator*() const { return *at; }
  CountingIterator& operator++() {
    *furthest = ++at;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at == other.at; }
};

// The offset at which parse_strictly() refuses `text`.
std::size_t place_of_refusal(std::string_view text) {
  const char* furthest = text.data();
  try {
    parse_strictly(CountingIterator{text.data(), &furthest},
                   CountingIterator{text.data() + text.size(), &furthest});
  } catch (const Refusal&) {
  } catch (const Json::exception&) {
  }
  const auto read = static_cast<std::size_t>(furthest - text.data());
  return read > 0 ? read - 1 : 0;
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source, std::int64_t first_line) {
  const auto fail = [&](std::size_t offset, std::string_view why) {
    throw FormatError(concat(source, ":", position(text, offset, first_line), ": ", why));
  };
  try {
    return parse_strictly(text.begin(), text.end());
  } catch (const Json::parse_error& error) {
    fail(error.byte > 0 ? error.byte - 1 : 0, concat("not valid JSON: ", reason(error.what())));
  } catch (const Json::out_of_range& error) {  // "number overflow parsing '1e400'"
    const std::string why = reason(error.what());
    fail(place_of_refusal(text),
         concat("a number is too large: ",
                why.substr(why.find('\'') + 1, why.rfind('\'') - why.find('\'') - 1)));
  } catch (const Json::exception& error) {
    fail(place_of_refusal(text), concat("not valid JSON: ", reason(error.what())));
  } catch (const Refusal& refusal) {
    fail(place_of_refusal(text), refusal.reason);
  }
  throw InternalError("[core::parse_json] a failure was not reported");
}

Json read_json(const fs::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const fs::path& path, const Json& value) {
  if (const auto place = place_not_finite(value)) {
    throw NumericalError(concat("'", path.string(), "' would hold a NaN or an infinity at '",
                                *place, "', which JSON cannot"));
  }
  write_file_atomic(path, value.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::string json_line(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& require_key(const Json& object, const char* key, const std::string& source) {
  if (!object.is_object() || !object.contains(key))
    throw FormatError(concat(source, ": the key '", key, "' is missing"));
  return object.at(key);
}

}  // namespace corda::core
