// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How a record becomes a prompt and a response, and those become token ids with a loss mask.
#pragma once

#include <string>
#include <string_view>

#include "corda/data/sample.h"

namespace corda::data {

// What the model is given and what it must answer; the text is one behind the other.
struct PromptResponse {
  std::string prompt;
  std::string response;
};

// "Below is an instruction that describes a task. ... ### Response:" in the wording of Stanford
// Alpaca; an empty `input` gives the form without one. No space or line feed follows the colon.
std::string alpaca_prompt(const std::string& instruction, const std::string& input);

// Ids of text in which nothing is special: a literal "</s>" becomes ordinary tokens; no BOS, no
// EOS.
std::vector<TokenId> encode_plain(const tokenizer::Tokenizer& tokenizer, std::string_view text);

// BOS (where the tokenizer starts with it), the ids of prompt and response tokenised as one text,
// EOS (where there is one). The response and EOS are supervised, with a token that reaches into the
// response from the prompt, but never the first token of all, which nothing predicts. Throws
// FormatError where the tokenizer blurs which tokens the response begins with.
Sample encode_sample(const tokenizer::Tokenizer& tokenizer, const PromptResponse& text);

// BOS where the tokenizer starts with it. Throws ConfigError where it does and names none.
Sample begin_sample(const tokenizer::Tokenizer& tokenizer);

}  // namespace corda::data
