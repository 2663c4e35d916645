// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Numbers as people read them.
#pragma once

#include <cstdint>
#include <string>

namespace corda::core {

// "12 345 678".
std::string grouped(std::int64_t number);

// `format_double` with an exponent as people write it: "2e-4", "1e6".
std::string short_number(double value);

// The shortest text of the value rounded to four significant digits; "nan", "inf" of what is not
// finite.
std::string four_digits(double value);

// "123 bytes", "1.235 MB": in units of a thousand.
std::string size_text(std::int64_t bytes);

}  // namespace corda::core
