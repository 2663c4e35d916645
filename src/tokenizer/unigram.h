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

#include "best_path.h"
#include "model.h"

namespace corda::tokenizer {

struct UnigramOptions {
  std::optional<std::int64_t> unknown_id;
  bool byte_fallback = false;  // an unknown part becomes <0xNN> tokens where all of them exist
};

// A unigram model as Hugging Face's library computes it: in double precision, over whole words.
class Unigram final : public Model {
 public:
  // `scores[id]` is the logarithm of the probability of token `id`. Throws FormatError with
  // `source` where the unknown id has no token.
  Unigram(Vocabulary vocabulary, const std::vector<double>& scores, UnigramOptions options,
          const std::string& source);

  // Throws ConfigError for a character without a token where the model has no unknown token.
  void tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  void write(std::string_view piece, std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  UnigramOptions options_;
  BestPath<double> paths_;
  BestPath<double>::Unknown unknown_;
  std::array<TokenId, 256> bytes_{};
};

}  // namespace corda::tokenizer
