// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <utf8proc.h>

#include <string>
#include <string_view>
#include <vector>

#include "corda/core/text.h"
#include "corda/eval/eval.h"
#include "eval/python_text.h"

namespace corda::eval {

namespace {

// What a regular expression calls a word character.
bool is_word(utf8proc_int32_t c) {
  const auto category = utf8proc_category(c);
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) || c == '_';
}

// Lower case without ASCII punctuation, as code points; a byte that is no UTF-8 is dropped.
std::vector<utf8proc_int32_t> simplify(const std::string& text) {
  std::vector<utf8proc_int32_t> result;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t c = -1;
    utf8proc_ssize_t used = utf8proc_iterate(bytes, left, &c);
    if (used < 1) used = 1;
    if (c >= 0 && !is_ascii_punctuation(c)) result.push_back(utf8proc_tolower(c));
    bytes += used;
    left -= used;
  }
  return result;
}

void append(std::string& text, utf8proc_int32_t c) {
  utf8proc_uint8_t buffer[4];
  const auto count = utf8proc_encode_char(c, buffer);
  text.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(count));
}

}  // namespace

std::string normalize_answer(const std::string& answer) {
  std::vector<std::string> words = {""};
  std::string run;  // the present run of word characters, an article or not
  const auto flush = [&] {
    if (run == "a" || run == "an" || run == "the") {
      words.emplace_back();
    } else {
      words.back() += run;
    }
    run.clear();
  };
  for (const utf8proc_int32_t c : simplify(answer)) {
    if (is_word(c)) {
      append(run, c);
      continue;
    }
    flush();
    if (is_space(c)) {
      words.emplace_back();
    } else {
      append(words.back(), c);
    }
  }
  flush();
  std::erase(words, "");
  return core::join(words, " ");
}

}  // namespace corda::eval
