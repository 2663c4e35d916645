// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "fields.h"

#include <utility>

#include "unicode.h"

namespace corda::tokenizer {

Fields::Fields(const core::Json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object())
    throw core::FormatError(
        core::concat(where_, ": expected an object, found ", object_.type_name()));
}

void Fields::fail(const std::string& reason) const {
  throw core::FormatError(core::concat(where_, ": ", reason));
}

const core::Json* Fields::find(const char* key) {
  seen_.insert(key);
  const auto at = object_.find(key);
  return at == object_.end() || at->is_null() ? nullptr : &*at;
}

const core::Json& Fields::require(const char* key) {
  const core::Json* value = find(key);
  if (value == nullptr) fail(core::concat("the key '", key, "' is missing"));
  return *value;
}

bool Fields::boolean(const char* key, bool fallback) {
  const core::Json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean())
    fail(core::concat("'", key, "' must be true or false, found ", value->type_name()));
  return value->get<bool>();
}

std::int64_t Fields::integer(const char* key) {
  const core::Json& value = require(key);
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX)) {
    fail(core::concat("'", key, "' must be an integer, found ", value.type_name()));
  }
  return value.get<std::int64_t>();
}

std::int64_t Fields::integer(const char* key, std::int64_t fallback) {
  return find(key) == nullptr ? fallback : integer(key);
}

std::string Fields::text(const char* key) {
  const core::Json& value = require(key);
  if (!value.is_string())
    fail(core::concat("'", key, "' must be a text, found ", value.type_name()));
  return value.get<std::string>();
}

std::string Fields::text(const char* key, const char* fallback) {
  return find(key) == nullptr ? std::string(fallback) : text(key);
}

const core::Json& Fields::list(const char* key) {
  const core::Json& value = require(key);
  if (!value.is_array())
    fail(core::concat("'", key, "' must be a list, found ", value.type_name()));
  return value;
}

char32_t Fields::character(const char* key) {
  const std::string value = text(key);
  std::size_t at = 0;
  const char32_t c = value.empty() ? 0 : next_code_point(value, at);
  if (value.empty() || at != value.size())
    fail(core::concat("'", key, "' must be one character, found '", value, "'"));
  return c;
}

void Fields::done() const {
  for (const auto& [key, value] : object_.items()) {
    if (!seen_.contains(key)) fail(core::concat("the key '", key, "' is not implemented"));
  }
}

}  // namespace corda::tokenizer
