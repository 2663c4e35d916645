// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A document becomes as many samples as it has pieces of the longest length.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "corda/data/sample.h"

namespace corda::data {

class DocumentCutter {
 public:
  using Sink = std::function<void(Sample&)>;

  // BOS (where the tokenizer starts with it), the ids of the document, EOS, in pieces of
  // `max_length` (0: in one), of which everything but the first token is supervised; a last piece
  // of one token comes without a supervised one. Throws ConfigError where BOS is wanted and has no
  // name.
  DocumentCutter(const tokenizer::Tokenizer& tokenizer, std::int64_t max_length, Sink sink);

  void add(std::span<const TokenId> ids);
  void finish();
  // The number of all ids so far, BOS and EOS included.
  std::int64_t tokens() const { return tokens_; }

 private:
  void add(TokenId id);
  void give();

  const tokenizer::Tokenizer& tokenizer_;
  std::int64_t max_length_;
  Sink sink_;
  Sample sample_;
  std::int64_t tokens_ = 0;
};

}  // namespace corda::data
