// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Answers of a model as texts: what generation gives, decoded and cut at the texts that end it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/eval/eval.h"
#include "corda/model/generate.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::eval {

using tokenizer::TokenId;

// Cuts the text at the first place of the first stop, what is left of it at the first place of the
// second, and so on.
std::string cut_at_stops(std::string text, const std::vector<std::string>& stops);

// The text of an answer while it grows. Characters show once all their bytes are there.
class GrowingAnswer {
 public:
  GrowingAnswer(const tokenizer::Tokenizer& tokenizer, const std::vector<std::string>& stops);

  // `generated`: all tokens so far. True once a stop stands in the text.
  bool grow(std::span<const TokenId> generated);
  // What is certain to belong to the answer: neither a stop nor what may be the beginning of one.
  std::string_view certain() const;

 private:
  const tokenizer::Tokenizer& tokenizer_;
  const std::vector<std::string>& stops_;
  std::string text_;
  std::size_t context_ = 0;  // tokens before this one do not change how later ones are decoded
  std::size_t read_ = 0;     // tokens whose text is there
  std::size_t longest_ = 0;  // bytes of the longest stop
};

// Throws ConfigError for an empty stop.
void check_stops(const std::vector<std::string>& stops);

model::Sampling sampling_of(const AnswerSettings& settings);

// The answer to each prompt, `settings` complete. Keys and values of at most `cache_tokens` tokens
// are held at once where one prompt does not need more.
std::vector<std::string> answer_prompts(const model::Model& model,
                                        const tokenizer::Tokenizer& tokenizer,
                                        const std::vector<std::vector<TokenId>>& prompts,
                                        const AnswerSettings& settings, std::int64_t cache_tokens,
                                        core::Reporter& reporter);

}  // namespace corda::eval
