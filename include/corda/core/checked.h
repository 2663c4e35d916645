// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Integer arithmetic that refuses to overflow; used on every size read from a file.
#pragma once

#include <cstdint>
#include <type_traits>

#include "corda/core/error.h"

namespace corda::core {

// a * b; throws FormatError where the product does not fit std::int64_t or an operand is negative.
inline std::int64_t checked_mul(std::int64_t a, std::int64_t b, const char* what) {
  std::int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) {
    throw FormatError(concat(what, ": the size ", a, " x ", b, " does not fit in 63 bits"));
  }
  return result;
}

// a + b; throws FormatError where the sum does not fit std::int64_t or an operand is negative.
inline std::int64_t checked_add(std::int64_t a, std::int64_t b, const char* what) {
  std::int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &result)) {
    throw FormatError(concat(what, ": the size ", a, " + ", b, " does not fit in 63 bits"));
  }
  return result;
}

// Converts between integer types; throws InternalError where the value would change.
template <typename To, typename From>
To narrow(From value) {
  static_assert(std::is_integral_v<To> && std::is_integral_v<From>);
  const To result = static_cast<To>(value);
  if (static_cast<From>(result) != value || ((result < To{}) != (value < From{}))) {
    throw InternalError(concat("[core::narrow] the value ", +value, " does not fit its new type"));
  }
  return result;
}

}  // namespace corda::core
