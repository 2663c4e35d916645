// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Python's str on UTF-8: positions are code points, white space is Unicode's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corda::jinja {

// The code point at byte `at`, which moves past it; a byte that is no UTF-8 counts as one code
// point.
std::int32_t next_code_point(std::string_view text, std::size_t& at);
void append_code_point(std::string& out, std::int32_t code);

std::int64_t length(std::string_view text);
// The byte where code point `index` begins (the end where there are fewer).
std::size_t byte_offset(std::string_view text, std::int64_t index);
std::vector<std::string_view> code_points(std::string_view text);

bool is_space(std::int32_t code);
bool is_word(std::int32_t code);       // letters, digits, underscore
bool is_printable(std::int32_t code);  // as Python's repr sees it

// Strips white space, or any of the code points of `chars` where it is given.
std::string_view strip(std::string_view text, bool left, bool right,
                       const std::string* chars = nullptr);
std::vector<std::string_view> split_space(std::string_view text, std::int64_t max_splits);
std::vector<std::string_view> rsplit_space(std::string_view text, std::int64_t max_splits);
std::vector<std::string_view> split_on(std::string_view text, std::string_view separator,
                                       std::int64_t max_splits);
std::vector<std::string_view> rsplit_on(std::string_view text, std::string_view separator,
                                        std::int64_t max_splits);
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends = false);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);
std::string swap_case(std::string_view text);

// The categories behind str.isalpha and its kin.
enum class CharClass { kAlpha, kDecimal, kAlphaNumeric, kSpace, kNumeric };
bool all_of_class(std::string_view text, CharClass wanted);
bool is_lower(std::string_view text);
bool is_upper(std::string_view text);

}  // namespace corda::jinja
