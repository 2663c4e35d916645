// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Text to text, before words are cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "regex.h"
#include "scratch.h"
#include "unicode.h"

namespace corda::tokenizer {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Replaces the piece's text; new text lives in the scratch's arena.
  virtual void apply(Piece& piece, Scratch& scratch) const = 0;
  std::string apply(std::string_view text) const {
    Scratch scratch;
    Piece piece{text};
    apply(piece, scratch);
    return std::string(piece.text);
  }
};

using NormalizerPtr = std::unique_ptr<const Normalizer>;

NormalizerPtr make_unicode_normalizer(NormalForm form);
NormalizerPtr make_lowercase();
NormalizerPtr make_strip(bool left, bool right);
NormalizerPtr make_strip_accents();
NormalizerPtr make_replace(Regex pattern, std::string content);
// Like make_replace for a plain string, which needs no regular expression.
NormalizerPtr make_replace_text(std::string text, std::string content);
// Puts `prefix` before the text, but before no empty one.
NormalizerPtr make_prepend(std::string prefix);
// Writes every byte in the byte-level alphabet.
NormalizerPtr make_byte_level_normalizer();
struct BertOptions {
  bool clean_text = true;            // no control characters; every white space a plain space
  bool handle_chinese_chars = true;  // spaces around CJK ideographs
  bool strip_accents = true;         // NFD without nonspacing marks
  bool lowercase = true;
};
NormalizerPtr make_bert(BertOptions options);
// The cleaning of SentencePiece's "nmt" rules: control characters go, odd spaces become plain ones.
NormalizerPtr make_nmt();
// A Charsmap applied as Hugging Face's library does it, grapheme cluster by grapheme cluster.
// Throws FormatError with `source` as Charsmap does.
NormalizerPtr make_precompiled(std::string_view blob, const std::string& source);
NormalizerPtr make_normalizer_sequence(std::vector<NormalizerPtr> parts);

}  // namespace corda::tokenizer
