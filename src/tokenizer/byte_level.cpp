// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "byte_level.h"

#include <array>

#include "unicode.h"

namespace corda::tokenizer {

namespace {

constexpr bool is_printable(std::uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::uint16_t, 256> to_char{};
  std::array<std::int16_t, 512> to_byte{};
};

// Printable Latin-1 stands for itself; the other bytes take U+0100 upwards, in order.
constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.to_byte) byte = -1;
  std::uint16_t next = 256;
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const std::uint16_t c = is_printable(byte) ? static_cast<std::uint16_t>(byte) : next++;
    alphabet.to_char[byte] = c;
    alphabet.to_byte[c] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_to_char(std::uint8_t byte) { return kAlphabet.to_char[byte]; }

std::optional<std::uint8_t> char_to_byte(char32_t c) {
  if (c >= kAlphabet.to_byte.size() || kAlphabet.to_byte[c] < 0) return std::nullopt;
  return static_cast<std::uint8_t>(kAlphabet.to_byte[c]);
}

std::string bytes_to_chars(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char byte : bytes) append_utf8(out, byte_to_char(static_cast<std::uint8_t>(byte)));
  return out;
}

std::optional<std::string> chars_to_bytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::optional<std::uint8_t> byte = char_to_byte(next_code_point(text, i));
    if (!byte) return std::nullopt;
    out += static_cast<char>(*byte);
  }
  return out;
}

}  // namespace corda::tokenizer
