// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Code points that are younger than the tables of the libraries used here: what Unicode 15, 15.1
// and 16 assigned.
#pragma once

#include <span>
#include <string_view>

namespace corda::tokenizer {

struct LateRange {
  char32_t first;
  char32_t last;
  std::string_view category;  // "Lo"
};

// The ranges in ascending order. They are what came after Unicode 14, which PCRE2 10.40 to 10.42
// have; newer libraries know some or all of them.
std::span<const LateRange> late_ranges();

struct LateScript {
  char32_t first;
  char32_t last;
  std::string_view name;   // "nagmundari": lower case, letters alone
  std::string_view alias;  // "nagm"
};

// The scripts of late_ranges(), in order.
std::span<const LateScript> late_scripts();

// The general category of a code point of late_ranges(), or "".
std::string_view late_category(char32_t c);

}  // namespace corda::tokenizer
