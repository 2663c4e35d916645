// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/config_reader.h"

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::model {

using core::concat;
using core::Json;

namespace {

const Json* member(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

// Enough of a value to recognise it.
std::string shown(const Json& value) { return value.dump().substr(0, 80); }

}  // namespace

void ConfigReader::throw_problems() const {
  if (!problems_.empty())
    throw core::FormatError(concat("'", source_, "': ", core::join(problems_, "; ")));
}

bool ConfigReader::present(const char* key) { return value(key) != nullptr; }

const Json* ConfigReader::value(const char* key) {
  read_.insert(key);
  return member(root_, key);
}

std::int64_t ConfigReader::size(const char* key, std::int64_t fallback) {
  const Json* found = value(key);
  if (found != nullptr) return checked_size(key, *found);
  if (fallback == 0) problem(concat("'", key, "' is missing"));
  return std::max<std::int64_t>(fallback, 1);
}

std::int64_t ConfigReader::count(const char* key, std::int64_t fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  return *found == 0 ? 0 : checked_size(key, *found);
}

double ConfigReader::number(const char* key, double fallback) {
  const Json* found = value(key);
  return found == nullptr ? fallback : checked_number(key, *found);
}

bool ConfigReader::flag(const char* key, bool fallback) {
  const Json* found = value(key);
  if (found == nullptr) return fallback;
  if (!found->is_boolean())
    problem(concat("'", key, "' must be true or false; it is ", shown(*found)));
  return found->is_boolean() ? found->get<bool>() : fallback;
}

std::int64_t ConfigReader::size(const Json& object, const std::string& where, const char* key,
                                std::int64_t fallback) {
  const Json* found = member(object, key);
  return found == nullptr ? fallback : checked_size(concat(where, ".", key), *found);
}

double ConfigReader::number(const Json& object, const std::string& where, const char* key,
                            double fallback) {
  const Json* found = member(object, key);
  return found == nullptr ? fallback : checked_number(concat(where, ".", key), *found);
}

std::int64_t ConfigReader::checked_size(const std::string& name, const Json& found) {
  constexpr std::int64_t kMax = std::int64_t{1} << 31;
  // A whole number may be written with a point: 2048.0.
  if (found.is_number()) {
    const double number = found.get<double>();
    if (number >= 1 && number <= static_cast<double>(kMax) && std::floor(number) == number)
      return static_cast<std::int64_t>(number);
  }
  problem(concat("'", name, "' must be a whole number from 1 to ", kMax, "; it is ", shown(found)));
  return 1;
}

double ConfigReader::checked_number(const std::string& name, const Json& found) {
  if (found.is_number() && std::isfinite(found.get<double>()) && found.get<double>() > 0)
    return found.get<double>();
  problem(concat("'", name, "' must be a positive number; it is ", shown(found)));
  return 1;
}

}  // namespace corda::model
