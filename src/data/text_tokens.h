// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The token ids of a text that is too long to be held: it comes in pieces, and is cut only where
// the tokens are known to be the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "corda/data/sample.h"

namespace corda::data {

class TextTokens {
 public:
  using Sink = std::function<void(std::span<const TokenId>)>;
  struct Sizes {
    std::size_t part = std::size_t{1} << 20;  // bytes that one thread tokenises at a time
    std::size_t context = 4096;               // bytes on both sides that a cut is tried with
  };

  // `sink` gets the ids in order: those of encode_plain() over the whole text, but for segments of
  // a SentencePiece unigram model that are equally likely: there the rounding of the sum over all
  // text before decides, which here is the sum since the context began.
  TextTokens(const tokenizer::Tokenizer& tokenizer, std::int64_t threads, Sink sink, Sizes sizes);
  TextTokens(const tokenizer::Tokenizer& tokenizer, std::int64_t threads, Sink sink)
      : TextTokens(tokenizer, threads, std::move(sink), Sizes()) {}

  // Any bytes, also half a character. Text that offers no place for a cut is held until one comes.
  // add() and finish() throw FormatError where tokens reach further than the context.
  void add(std::string_view text);
  // The end of the text; what is added next is another one.
  void finish();

 private:
  void give(bool all);
  std::size_t find_cut(std::size_t from, std::size_t to) const;
  bool is_cut(std::size_t place) const;
  std::size_t context_begin(std::size_t place) const;
  std::string_view between(std::size_t begin, std::size_t end) const {
    return std::string_view(text_).substr(begin, end - begin);
  }
  std::vector<TokenId> tokens_between(std::size_t begin, std::size_t end) const;

  const tokenizer::Tokenizer& tokenizer_;
  std::int64_t threads_;
  Sink sink_;
  Sizes sizes_;
  std::string text_;       // context, whose tokens were given, and what is to come
  std::size_t given_ = 0;  // bytes of the context: what is to come begins here
  std::size_t wanted_;     // bytes to come that the next attempt waits for
};

}  // namespace corda::data
