// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The unigram language model (Kudo 2018, section 3.2): the segmentation of largest probability.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hash.h"
#include "model.h"
#include "safe_cut.h"

namespace corda::tokenizer {

struct UnigramOptions {
  std::optional<std::int64_t> unknown_id;
  bool byte_fallback = false;  // an unknown part becomes <0xNN> tokens where all of them exist
};

class Unigram final : public Model {
 public:
  // `scores[id]` is the logarithm of the probability of token `id`. Throws FormatError with
  // `source` where the unknown id has no token.
  Unigram(Vocabulary vocabulary, std::vector<double> scores, UnigramOptions options,
          const std::string& source);

  // Throws ConfigError for a character without a token where the model has no unknown token.
  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  struct Step {
    double score = 0;
    std::int32_t from = -1;
    TokenId id = -1;
  };

  void add_token(std::string_view token, TokenId id);
  void tokenize_part(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const;
  void best_path(std::string_view word, std::vector<Step>& steps) const;
  void write_path(std::string_view word, const std::vector<Step>& steps,
                  std::vector<TokenId>& ids) const;
  void write(std::string_view piece, std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  std::vector<double> scores_;
  UnigramOptions options_;
  double unknown_score_ = 0;
  TokenId unknown_ = -1;
  std::vector<TokenId> ends_;        // of each node of the trie: the token that ends there, or -1
  PairMap<std::uint32_t> children_;  // (node, byte) -> node
  std::array<std::uint32_t, 256> first_{};  // children of the root; 0 = none
  std::array<TokenId, 256> bytes_{};
  std::string safe_cut_;
};

}  // namespace corda::tokenizer
