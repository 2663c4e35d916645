// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Text to words.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "regex.h"
#include "scratch.h"

namespace corda::tokenizer {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces `scratch.pieces` by smaller ones; recognised tokens stay, empty pieces vanish.
  virtual void split(Scratch& scratch) const = 0;
};

// Runs `cut(piece, out)` on every piece that is still text.
template <typename Cut>
void for_each_text(Scratch& scratch, Cut cut) {
  scratch.spare.clear();
  for (const Piece& piece : scratch.pieces) {
    if (piece.id >= 0) {
      scratch.spare.push_back(piece);
    } else {
      cut(piece, scratch.spare);
    }
  }
  scratch.pieces.swap(scratch.spare);
}

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

// What becomes of a delimiter: each a word, dropped, part of the word before, of the one behind, or
// runs of delimiters and of other text alternate.
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };

// With `invert`, what the pattern does not match is the delimiter.
PreTokenizerPtr make_split(Regex pattern, SplitBehavior behavior, bool invert);

struct ByteLevelOptions {
  bool add_prefix_space = true;
  bool use_regex = true;    // cut with GPT-2's pattern
  bool keep_bytes = false;  // leave the bytes as they are, for a model that takes raw bytes
};
PreTokenizerPtr make_byte_level(ByteLevelOptions options);

enum class PrependScheme { kAlways, kFirst, kNever };
PreTokenizerPtr make_metaspace(std::string replacement, PrependScheme prepend, bool split);

PreTokenizerPtr make_whitespace();        // \w+|[^\w\s]+
PreTokenizerPtr make_whitespace_split();  // cut at white space
PreTokenizerPtr make_digits(bool individual);
PreTokenizerPtr make_punctuation(SplitBehavior behavior);
PreTokenizerPtr make_bert_pre_tokenizer();  // cut at white space, punctuation each a word
PreTokenizerPtr make_char_delimiter_split(char32_t delimiter);
PreTokenizerPtr make_unicode_scripts();                  // cut where the writing system changes
PreTokenizerPtr make_fixed_length(std::int64_t length);  // in code points
PreTokenizerPtr make_pre_tokenizer_sequence(std::vector<PreTokenizerPtr> parts);

}  // namespace corda::tokenizer
