// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Byte-pair encoding: the merge of lowest rank first, the leftmost of equal ones.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hash.h"
#include "model.h"
#include "safe_cut.h"

namespace corda::tokenizer {

struct BpeOptions {
  std::optional<std::string> unknown_token;
  std::string continuing_prefix;
  std::string end_of_word_suffix;
  bool fuse_unknown = false;
  bool byte_fallback = false;  // a character without a token becomes <0xNN> tokens
  bool ignore_merges = false;  // a word that is a token needs no merging
  bool raw_bytes = false;      // words come as bytes; tokens are written in the byte-level alphabet
};

class Bpe final : public Model {
 public:
  using MergeList = std::vector<std::pair<std::string, std::string>>;

  // Throws FormatError with `source` where a merge or the unknown token is not in the vocabulary.
  Bpe(Vocabulary vocabulary, const MergeList& merges, BpeOptions options,
      const std::string& source);

  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  struct Merge {
    std::uint32_t rank = 0;
    TokenId result = -1;
  };
  struct Symbol {
    TokenId id = -1;
    std::int32_t previous = -1;
    std::int32_t next = -1;
    bool alive = true;
  };

  void add_merges(const MergeList& merges, const std::string& source);
  void tokenize_word(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  void initial_symbols(std::string_view word, std::vector<TokenId>& ids) const;
  void add_symbol(std::string symbol, std::optional<TokenId>& pending,
                  std::vector<TokenId>& ids) const;
  void merge_short(std::vector<TokenId>& ids, std::size_t begin) const;
  void merge_long(std::vector<TokenId>& ids, std::size_t begin) const;
  const Merge* merge_of(TokenId left, TokenId right) const {
    return merges_.find(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right));
  }

  Vocabulary vocabulary_;
  BpeOptions options_;
  PairMap<Merge> merges_;
  std::optional<TokenId> unknown_;
  std::array<TokenId, 256> byte_ids_{};  // raw_bytes: the token of a byte, or -1
  std::array<TokenId, 256> fallback_{};  // byte_fallback: the token <0xNN>, or -1
  bool plain_ = true;                    // no prefix, no suffix
  std::string safe_cut_;
};

}  // namespace corda::tokenizer
