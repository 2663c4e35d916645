// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "fields.h"

#include <cmath>
#include <utility>

#include "corda/core/error.h"

namespace corda::core {

namespace {

constexpr std::size_t kShown = 80;  // characters of a wrong value

bool fits(const Json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
}

}  // namespace

Fields::Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) fail("must be a JSON object");
}

void Fields::fail(const std::string& reason) const {
  throw FormatError(concat(where_, ": ", reason));
}

void Fields::wrong(const char* key, const std::string& kind, const Json& value) const {
  std::string shown = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (shown.size() > kShown) shown = shown.substr(0, kShown) + "...";
  fail(concat("'", key, "' must be ", kind, "; it is ", shown));
}

std::string Fields::text(const char* key) const {
  const Json& value = require(key);
  if (!value.is_string()) wrong(key, "text", value);
  return value.get<std::string>();
}

bool Fields::boolean(const char* key) const {
  const Json& value = require(key);
  if (!value.is_boolean()) wrong(key, "true or false", value);
  return value.get<bool>();
}

double Fields::number(const char* key) const {
  const Json& value = require(key);
  if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, "a number", value);
  return value.get<double>();
}

std::int64_t Fields::integer(const char* key, std::int64_t least, std::int64_t most) const {
  const Json& value = require(key);
  if (!fits(value) || value.get<std::int64_t>() < least || value.get<std::int64_t>() > most) {
    const bool bounded = least != INT64_MIN || most != INT64_MAX;
    wrong(key, bounded ? concat("a whole number from ", least, " to ", most) : "a whole number",
          value);
  }
  return value.get<std::int64_t>();
}

std::vector<std::string> Fields::texts(const char* key) const {
  const Json& value = require(key);
  if (!value.is_array()) wrong(key, "a list of texts", value);
  std::vector<std::string> result;
  for (const Json& item : value) {
    if (!item.is_string()) wrong(key, "a list of texts", value);
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<double> Fields::numbers(const char* key) const {
  const Json& value = require(key);
  if (!value.is_array()) wrong(key, "a list of numbers", value);
  std::vector<double> result;
  for (const Json& item : value) {
    if (!item.is_number() || !std::isfinite(item.get<double>()))
      wrong(key, "a list of numbers", value);
    result.push_back(item.get<double>());
  }
  return result;
}

const Json& Fields::object(const char* key) const {
  const Json& value = require(key);
  if (!value.is_object()) wrong(key, "a JSON object", value);
  return value;
}

}  // namespace corda::core
