// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/template.h"

#include <algorithm>
#include <span>

#include "corda/core/error.h"
#include "corda/data/load.h"
#include "data/span_tokens.h"

namespace corda::data {

namespace {

constexpr tokenizer::EncodeOptions kPlain = {.add_special_tokens = false, .parse_special = false};

void add(Sample& sample, std::span<const TokenId> ids, std::uint8_t supervised) {
  sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
  sample.supervised.resize(sample.ids.size(), supervised);
}

void finish_sample(Sample& sample, const tokenizer::Tokenizer& tokenizer) {
  if (tokenizer.eos_id) add(sample, {&*tokenizer.eos_id, 1}, 1);
  if (!sample.supervised.empty()) sample.supervised[0] = 0;
}

}  // namespace

std::string qa_prompt(const std::string& question) {
  return core::concat("Question: ", question, "\nAnswer:");
}

std::string alpaca_prompt(const std::string& instruction, const std::string& input) {
  if (input.empty()) {
    return core::concat(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n",
        instruction, "\n\n### Response:");
  }
  return core::concat(
      "Below is an instruction that describes a task, paired with an input that provides further "
      "context. "
      "Write a response that appropriately completes the request.\n\n"
      "### Instruction:\n",
      instruction, "\n\n### Input:\n", input, "\n\n### Response:");
}

std::vector<TokenId> encode_plain(const tokenizer::Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, kPlain);
}

Sample begin_sample(const tokenizer::Tokenizer& tokenizer) {
  Sample sample;
  add(sample, tokenizer.prefix, 0);
  return sample;
}

Sample encode_sample(const tokenizer::Tokenizer& tokenizer, const PromptResponse& text) {
  Sample sample = begin_sample(tokenizer);
  const std::string whole = text.prompt + text.response;
  const std::vector<TokenId> ids = encode_plain(tokenizer, whole);
  const std::vector<TokenId> prompt = encode_plain(tokenizer, text.prompt);
  std::size_t first = prompt.size();
  // Where a token reaches over the seam, only the bytes say which of them are the response's.
  if (first > ids.size() || !std::equal(prompt.begin(), prompt.end(), ids.begin())) {
    const tokenizer::ByteSpan response{static_cast<std::int64_t>(text.prompt.size()),
                                       static_cast<std::int64_t>(whole.size())};
    first = SpanTokens(tokenizer, whole, {response}, {}, kPlain).tokens_of(response).begin;
  }
  const std::span all(ids);
  add(sample, all.first(first), 0);
  add(sample, all.subspan(first), 1);
  finish_sample(sample, tokenizer);
  return sample;
}

}  // namespace corda::data
