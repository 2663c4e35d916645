// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Where a text without pre-tokenizer may be cut into words all the same, for a model that merges
// (one that adds up scores must see the whole).
#pragma once

#include <string>
#include <string_view>

#include "vocabulary.h"

namespace corda::tokenizer {

// U+2581 where it is a token and no token has it behind another character: then no token reaches
// across the start of a run of U+2581, and a text may be cut there. Empty where there is no such
// place.
std::string find_safe_cut(const Vocabulary& vocabulary);

// Calls `visit(part)` for the parts of `word` cut before each run of `cut`; for the whole word
// where `cut` is empty.
template <typename Visit>
void for_each_safe_part(std::string_view word, std::string_view cut, Visit visit) {
  const std::size_t width = cut.size();
  std::size_t begin = 0;
  if (width > 0) {
    for (std::size_t at = word.find(cut, 1); at != std::string_view::npos;
         at = word.find(cut, at + width)) {
      if (at >= begin + width && word.substr(at - width, width) == cut) continue;
      visit(word.substr(begin, at - begin));
      begin = at;
    }
  }
  visit(word.substr(begin));
}

}  // namespace corda::tokenizer
