// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A text tokenised once, and which of its tokens belong to spans of its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "corda/tokenizer/tokenizer.h"

namespace corda::data {

// Tokens [begin, end).
struct TokenRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

class SpanTokens {
 public:
  // `spans`: ascending and apart; `places`: more bytes that token_at() will be asked for, in any
  // order. Throws FormatError as Tokenizer::encode_with_cuts.
  SpanTokens(const tokenizer::Tokenizer& tokenizer, std::string_view text,
             const std::vector<tokenizer::ByteSpan>& spans, std::vector<std::int64_t> places,
             const tokenizer::EncodeOptions& options);

  // The ids of the whole text.
  const std::vector<tokenizer::TokenId>& ids() const { return ids_; }
  // How many ids begin before a byte that is a place, or begin or end of a span.
  std::size_t token_at(std::int64_t byte) const;
  // The tokens of one of the spans. One that reaches into it from before belongs to it, as in
  // transformers.
  TokenRange tokens_of(const tokenizer::ByteSpan& span) const;

 private:
  std::string_view text_;
  std::vector<std::int64_t> places_;  // ascending, each once
  std::vector<std::int64_t> cuts_;    // ids before each of them
  std::vector<tokenizer::TokenId> ids_;
};

}  // namespace corda::data
