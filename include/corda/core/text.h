// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Small text helpers shared by every layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corda::core {

// Whether a byte goes on with a UTF-8 character that an earlier byte began.
constexpr bool is_utf8_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
}

std::vector<std::string> split(std::string_view text, char separator);
// What stands before the first line break.
std::string first_line(std::string_view text);
std::string join(const std::vector<std::string>& parts, std::string_view separator);

// `join` for a message to a user, whose length does not grow with the files: of more than ten parts
// the first eight and how many there are besides ("a, b and 212 more"), of a part longer than 200
// bytes the beginning.
std::string listed(const std::vector<std::string>& parts, std::string_view separator = ", ");
// `listed` for names of tensors, modules, keys or files: each in quotes. Where some are left out it
// is said what all of them begin with, if that is one or more parts that end in a dot.
std::string listed_names(const std::vector<std::string>& names);

// A message as it is printed: of one longer than kMessageBytes the beginning, cut between
// characters, with how many bytes are left out. What a file holds can be in it.
inline constexpr std::size_t kMessageBytes = 3000;
std::string capped(std::string_view message);

std::string_view trim(std::string_view text);

// ASCII letters in lower case; other bytes as they are.
std::string to_lower_ascii(std::string text);

// & < > " ' as HTML and XML write them, numbers for the quotes, as MarkupSafe does.
std::string escape_html(std::string_view text);

// What follows the last dot: "q_proj" of "model.layers.0.self_attn.q_proj"; all of it without one.
std::string_view last_part(std::string_view name);

// Whole-string conversions; nullopt where anything is left over or out of range. Accept no spaces.
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<double> parse_double(std::string_view text);

// The shortest decimal that reads back as the same double.
std::string format_double(double value);

// The candidate closest to `word` by edit distance, if one is close enough to be a likely typo.
std::optional<std::string> closest(std::string_view word,
                                   const std::vector<std::string>& candidates);

// " (did you mean 'x'?)" or "".
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace corda::core
