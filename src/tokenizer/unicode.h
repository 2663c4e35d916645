// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// UTF-8 and the few Unicode properties that tokenizers ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace corda::tokenizer {

// The code point that begins at `position` of valid UTF-8; `position` moves behind it.
inline char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(position);
  if (lead < 0x80) {
    ++position;
    return lead;
  }
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  char32_t value = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) value = (value << 6) | (byte(position + i) & 0x3FU);
  position += length;
  return value;
}

// Bytes of the sequence that begins with `lead`, a lead byte of valid UTF-8.
inline std::size_t utf8_length(char lead) {
  const auto byte = static_cast<std::uint8_t>(lead);
  return byte < 0x80 ? 1 : byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
}

// Code points of valid UTF-8.
std::int64_t count_characters(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);

bool is_valid_utf8(std::string_view text);

// Replaces every maximal invalid part by U+FFFD, as Python's errors="replace" does.
std::string replace_invalid_utf8(std::string_view text);

bool is_whitespace(char32_t c);   // property White_Space
bool is_numeric(char32_t c);      // categories Nd, Nl, No
bool is_punctuation(char32_t c);  // ASCII punctuation and categories P* of Unicode 8
bool is_mark(char32_t c);         // categories M* of Unicode 9, as StripAccents has them
bool is_accent(char32_t c);       // category Mn as BertNormalizer has it (Unicode 8)
bool is_control(
    char32_t c);  // categories Cc, Cf and Co as BertNormalizer has them, but for tab and line ends
bool is_ideograph(char32_t c);  // CJK ideographs as BertNormalizer has them
bool is_word(char32_t c);       // \w of UTS #18 without Join_Control
std::string to_lower(std::string_view text);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };
std::string normalize(std::string_view text, NormalForm form);
// True where a glance at the bytes shows that normalize() would change nothing.
bool is_normal_at_sight(std::string_view text, NormalForm form);

}  // namespace corda::tokenizer
