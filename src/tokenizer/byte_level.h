// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The alphabet of byte-level BPE: every byte is written as one printable character (GPT-2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace corda::tokenizer {

// The character that stands for `byte`.
char32_t byte_to_char(std::uint8_t byte);
// The byte that `c` stands for, or nullopt where it is none of the 256 characters.
std::optional<std::uint8_t> char_to_byte(char32_t c);

std::string bytes_to_chars(std::string_view bytes);
// nullopt where some character stands for no byte.
std::optional<std::string> chars_to_bytes(std::string_view text);

}  // namespace corda::tokenizer
