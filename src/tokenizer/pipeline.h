// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A tokenizer as tokenizer.json describes one: normalizer, pre-tokenizer, model, post-processor,
// decoder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "added_tokens.h"
#include "corda/tokenizer/tokenizer.h"
#include "decoder.h"
#include "model.h"
#include "normalizer.h"
#include "pre_tokenizer.h"

namespace corda::tokenizer {

// Null pointers stand for steps that the file does not have.
struct PipelineParts {
  NormalizerPtr normalizer;
  PreTokenizerPtr pre_tokenizer;
  std::unique_ptr<const Model> model;
  AddedTokens added;
  std::vector<TokenId> prefix;  // what the post-processor puts before the text
  std::vector<TokenId> suffix;
  DecoderPtr decoder;
};

class PipelineTokenizer final : public Tokenizer {
 public:
  explicit PipelineTokenizer(PipelineParts parts);

  std::vector<TokenId> encode(std::string_view text, EncodeOptions options) const override;
  CutEncoding encode_with_cuts(std::string_view text, std::span<const std::int64_t> places,
                               EncodeOptions options) const override;
  std::string decode(std::span<const TokenId> ids, DecodeOptions options) const override;
  std::int64_t vocab_size() const override { return size_; }
  std::optional<TokenId> token_to_id(std::string_view token) const override;
  std::string id_to_token(TokenId id) const override;
  bool is_special(TokenId id) const override;

  // What stands around a text with special tokens; sets `prefix`, too.
  void surround(std::vector<TokenId> before, std::vector<TokenId> behind);

 private:
  // Cuts the pieces into words and appends their ids.
  void tokenize_pieces(Scratch& scratch, std::vector<TokenId>& ids) const;

  PipelineParts parts_;
  std::int64_t size_ = 0;
  mutable ScratchPool pool_;
};

}  // namespace corda::tokenizer
