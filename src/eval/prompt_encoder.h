// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Prompts as token ids, as lm-evaluation-harness's model for Hugging Face makes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/tokenizer/tokenizer.h"
#include "eval/task.h"

namespace corda::eval {

using tokenizer::TokenId;

class PromptEncoder {
 public:
  // `bos` as EvalSettings has it. Throws ConfigError where it is "on" and the tokenizer has none.
  PromptEncoder(const tokenizer::Tokenizer& tokenizer, const HarnessVersion& harness,
                const std::string& bos, bool literal);

  // "on" where prompts begin with BOS, else "off".
  std::string bos() const;
  // What stands before a text without context. Throws ConfigError where there is neither BOS nor
  // EOS.
  TokenId prefix_token() const;
  // The ids of texts that begin a sequence, with BOS where `bos` says so.
  std::vector<std::vector<TokenId>> encode(const std::vector<std::string>& texts,
                                           std::int64_t threads) const;
  std::vector<TokenId> encode(const std::string& text) const;
  // The ids of a text that goes on, so without BOS.
  std::vector<TokenId> encode_bare(const std::string& text) const;

 private:
  bool begins_itself(const std::string& text) const;
  std::vector<TokenId> with_front(std::vector<TokenId> ids) const;

  const tokenizer::Tokenizer& tokenizer_;
  bool literal_;
  bool adds_special_ = false;   // what the tokenizer itself adds
  std::vector<TokenId> front_;  // what stands before all
  std::optional<TokenId> prefix_;
  std::string prefix_text_;
};

}  // namespace corda::eval
