// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A SentencePiece unigram model, computed as its library (0.2) computes it.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "best_path.h"
#include "model.h"
#include "sentencepiece_spec.h"

namespace corda::tokenizer {

// Sums are in single precision and over each stretch of text as a whole: sums that are equal but
// for their rounding are told apart by it, and it depends on all that stands before. The library
// itself is not asked because its versions differ in this and in what a symbol of the user's
// counts.
class SentencePieceUnigram final : public Model {
 public:
  // Throws FormatError with `source` for pieces that stand twice and where none is the unknown one.
  SentencePieceUnigram(const SentencePieceSpec& spec, const std::string& source);

  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  bool byte_fallback_;
  BestPath<float> paths_;
  BestPath<float>::Unknown unknown_;
  std::array<TokenId, 256> bytes_;
};

}  // namespace corda::tokenizer
