// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/quantity.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::core {

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), " ");
  return digits;
}

std::string short_number(double value) {
  std::string text = format_double(value);
  const std::size_t exponent = text.find('e');
  if (exponent == std::string::npos) return text;
  const bool negative = text[exponent + 1] == '-';
  const std::size_t digits = text.find_first_not_of("+-0", exponent + 1);
  return text.substr(0, exponent + 1) + (negative ? "-" : "") + text.substr(digits);
}

std::string four_digits(double value) {
  if (value == 0) return "0";
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.3e", value);
  // The double nearest to that decimal, which prints as short as it is.
  return short_number(parse_double(text.data()).value_or(value));
}

std::string size_text(std::int64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1000 && unit < 4; ++unit) value /= 1000;
  return concat(four_digits(value), " ", kUnits[unit]);
}

}  // namespace corda::core
