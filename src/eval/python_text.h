// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What Python's texts and patterns do, where scores depend on it. Texts are UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace corda::eval {

// str.isspace of one code point, which is also what \s matches.
bool is_space(std::int32_t c);

// string.punctuation
bool is_ascii_punctuation(std::int32_t c);

// Bytes of white space at the front, and at the end.
std::size_t spaces_in_front(std::string_view text);
std::size_t spaces_at_end(std::string_view text);
// str.strip()
std::string stripped(std::string_view text);
// str.lower() of each character by itself.
std::string lowered(std::string_view text);
// str.replace
std::string replaced(std::string text, std::string_view from, std::string_view to);
// len(text)
std::int64_t count_characters(std::string_view text);
// len(re.split(r"\s+", text))
std::int64_t count_words(std::string_view text);
std::string without_punctuation(std::string_view text);

}  // namespace corda::eval
