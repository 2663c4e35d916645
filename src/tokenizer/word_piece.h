// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// WordPiece: the longest token first, from left to right; and WordLevel, which is whole words only.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"

namespace corda::tokenizer {

struct WordPieceOptions {
  std::string unknown_token;
  std::string continuing_prefix;    // of every token but the first of a word
  std::int64_t longest_word = 100;  // code points; a longer word is unknown
};

class WordPiece final : public Model {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options);
  // Throws ConfigError for an unknown word where the unknown token is not in the vocabulary.
  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  bool cut(std::string_view word, std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  WordPieceOptions options_;
  std::size_t longest_token_ = 0;  // bytes
};

class WordLevel final : public Model {
 public:
  WordLevel(Vocabulary vocabulary, std::string unknown_token);
  // Throws ConfigError like WordPiece.
  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  std::string unknown_token_;
};

}  // namespace corda::tokenizer
