// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/python_text.h"

#include <utf8proc.h>

#include <algorithm>

#include "corda/core/text.h"

namespace corda::eval {

namespace {

// The code point that begins `text`, and its bytes; -1 and 1 for a byte that is no UTF-8.
struct Character {
  std::int32_t code = -1;
  std::size_t bytes = 1;
};

Character first_of(std::string_view text) {
  utf8proc_int32_t code = -1;
  const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                     static_cast<utf8proc_ssize_t>(text.size()), &code);
  return used < 1 ? Character{} : Character{code, static_cast<std::size_t>(used)};
}

}  // namespace

bool is_space(std::int32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0x2028 ||
         c == 0x2029 || utf8proc_category(c) == UTF8PROC_CATEGORY_ZS;
}

bool is_ascii_punctuation(std::int32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
         (c >= 123 && c <= 126);
}

std::size_t spaces_in_front(std::string_view text) {
  std::size_t place = 0;
  while (place < text.size()) {
    const Character c = first_of(text.substr(place));
    if (!is_space(c.code)) break;
    place += c.bytes;
  }
  return place;
}

std::size_t spaces_at_end(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && core::is_utf8_continuation(text[begin])) --begin;
    if (!is_space(first_of(text.substr(begin, end - begin)).code)) break;
    end = begin;
  }
  return text.size() - end;
}

std::string stripped(std::string_view text) {
  text.remove_prefix(spaces_in_front(text));
  text.remove_suffix(spaces_at_end(text));
  return std::string(text);
}

std::string lowered(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const Character c = first_of(text);
    utf8proc_uint8_t buffer[4];
    if (c.code < 0) {
      result += text.front();
    } else if (c.code == 0x130) {  // the one capital whose small letter is two characters
      result += "i\u0307";
    } else {
      const auto bytes = utf8proc_encode_char(utf8proc_tolower(c.code), buffer);
      result.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(bytes));
    }
    text.remove_prefix(c.bytes);
  }
  return result;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char byte) { return !core::is_utf8_continuation(byte); });
}

std::int64_t count_words(std::string_view text) {
  std::int64_t words = 1;
  while (!text.empty()) {
    const std::size_t spaces = spaces_in_front(text);
    if (spaces > 0) ++words;
    text.remove_prefix(spaces > 0 ? spaces : first_of(text).bytes);
  }
  return words;
}

std::string without_punctuation(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (!is_ascii_punctuation(c)) result += c;
  }
  return result;
}

}  // namespace corda::eval
