// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/prompt_encoder.h"

#include <algorithm>
#include <array>
#include <thread>

#include "corda/core/error.h"

namespace corda::eval {

PromptEncoder::PromptEncoder(const tokenizer::Tokenizer& tokenizer, const HarnessVersion& harness,
                             const std::string& bos, bool literal)
    : tokenizer_(tokenizer),
      literal_(literal),
      prefix_(harness.prefix_is_bos && tokenizer.bos_id ? tokenizer.bos_id : tokenizer.eos_id) {
  if (prefix_) prefix_text_ = tokenizer.decode(std::array{*prefix_});
  if (bos == "on") {
    if (!tokenizer.bos_id) throw core::ConfigError("--bos on: the tokenizer has no BOS token");
    front_ = {*tokenizer.bos_id};
  } else if (bos == "auto" && harness.own_bos) {
    adds_special_ = !literal;
    if (literal) front_ = tokenizer.prefix;
  }
}

std::string PromptEncoder::bos() const {
  const std::vector<TokenId> ids = encode("a");
  return tokenizer_.bos_id && !ids.empty() && ids.front() == *tokenizer_.bos_id ? "on" : "off";
}

TokenId PromptEncoder::prefix_token() const {
  if (!prefix_) throw core::ConfigError("the tokenizer has neither a BOS nor an EOS token");
  return *prefix_;
}

bool PromptEncoder::begins_itself(const std::string& text) const {
  return !literal_ && !prefix_text_.empty() && text.starts_with(prefix_text_);
}

std::vector<TokenId> PromptEncoder::with_front(std::vector<TokenId> ids) const {
  ids.insert(ids.begin(), front_.begin(), front_.end());
  return ids;
}

std::vector<TokenId> PromptEncoder::encode_bare(const std::string& text) const {
  return tokenizer_.encode(text, {.parse_special = !literal_});
}

std::vector<TokenId> PromptEncoder::encode(const std::string& text) const {
  if (begins_itself(text)) return encode_bare(text);
  return with_front(
      tokenizer_.encode(text, {.add_special_tokens = adds_special_, .parse_special = !literal_}));
}

std::vector<std::vector<TokenId>> PromptEncoder::encode(const std::vector<std::string>& texts,
                                                        std::int64_t threads) const {
  if (threads == 0) threads = std::max(1U, std::thread::hardware_concurrency());
  auto all =
      tokenizer::encode_batch(tokenizer_, texts, threads,
                              {.add_special_tokens = adds_special_, .parse_special = !literal_});
  for (std::size_t i = 0; i < texts.size(); ++i)
    all[i] = begins_itself(texts[i]) ? encode_bare(texts[i]) : with_front(std::move(all[i]));
  return all;
}

}  // namespace corda::eval
