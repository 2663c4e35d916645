// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "quick_decimal.h"

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

#include "corda/core/text.h"

namespace corda::tokenizer {

namespace {

// 10 to the power of 0 ... 308, each rounded once.
double power_of_ten(std::int64_t exponent) {
  return std::strtod(("1e" + std::to_string(exponent)).c_str(), nullptr);
}

double scaled(std::uint64_t digits, std::int64_t exponent) {
  constexpr std::int64_t kLargest = 308;
  auto value = static_cast<double>(digits);
  for (; exponent < -kLargest && value != 0; exponent += kLargest) value /= power_of_ten(kLargest);
  if (value == 0) return 0;
  if (exponent < 0) return value / power_of_ten(-exponent);
  return exponent > kLargest ? std::numeric_limits<double>::infinity()
                             : value * power_of_ten(exponent);
}

}  // namespace

double quick_decimal(std::string_view number) {
  const bool negative = number.starts_with('-');
  if (negative) number.remove_prefix(1);
  const std::size_t e = number.find_first_of("eE");
  std::int64_t exponent = 0;
  if (e != std::string_view::npos) {
    std::string_view written = number.substr(e + 1);
    if (written.starts_with('+')) written.remove_prefix(1);
    exponent = core::parse_int(written).value_or(0);
  }
  std::uint64_t digits = 0;
  bool full = false;  // another digit does not fit: it and all behind it are left out
  bool fraction = false;
  for (const char c : number.substr(0, e)) {
    if (c == '.') {
      fraction = true;
      continue;
    }
    const auto digit = static_cast<std::uint64_t>(c - '0');
    full = full || digits > (std::numeric_limits<std::uint64_t>::max() - digit) / 10;
    if (!full) digits = digits * 10 + digit;
    if (full && !fraction) ++exponent;
    if (!full && fraction) --exponent;
  }
  const double value = scaled(digits, exponent);
  return negative ? -value : value;
}

}  // namespace corda::tokenizer
