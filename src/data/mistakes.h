// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The well-known mistakes of training data: looked for in every run, in one place.
#pragma once

#include "corda/data/load.h"
#include "data/chat_template.h"

namespace corda::data {

// Adds what one sample shows.
void count_sample(const Sample& sample, const tokenizer::Tokenizer& tokenizer,
                  EncodeCounts& counts);

// One sentence a mistake: no end token among the targets, BOS twice, a padding token that is EOS
// and is masked, a template that does not fit the model or the data, samples that are all prompt,
// samples cut or dropped. `chat` may be null.
std::vector<std::string> find_mistakes(const EncodeCounts& counts,
                                       const tokenizer::Tokenizer& tokenizer,
                                       const EncodeSettings& settings, const ChatTemplate* chat);

}  // namespace corda::data
