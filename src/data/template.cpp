// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/template.h"

#include "corda/core/error.h"
#include "corda/data/load.h"

namespace corda::data {

namespace {

void add(Sample& sample, const std::vector<TokenId>& ids, std::uint8_t supervised) {
  sample.ids.insert(sample.ids.end(), ids.begin(), ids.end());
  sample.supervised.resize(sample.ids.size(), supervised);
}

void finish_sample(Sample& sample, const tokenizer::Tokenizer& tokenizer) {
  if (tokenizer.eos_id) add(sample, {*tokenizer.eos_id}, 1);
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
  return tokenizer.encode(text, {.add_special_tokens = false, .parse_special = false});
}

Sample begin_sample(const tokenizer::Tokenizer& tokenizer) {
  Sample sample;
  add(sample, tokenizer.prefix, 0);
  return sample;
}

Sample encode_sample(const tokenizer::Tokenizer& tokenizer, const PromptResponse& text) {
  Sample sample = begin_sample(tokenizer);
  add(sample, encode_plain(tokenizer, text.prompt), 0);
  add(sample, encode_plain(tokenizer, text.response), 1);
  finish_sample(sample, tokenizer);
  return sample;
}

}  // namespace corda::data
