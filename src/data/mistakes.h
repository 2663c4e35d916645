// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The well-known mistakes of training data: looked for in every run, in one place.
#pragma once

#include "corda/data/load.h"
#include "data/chat_template.h"
#include "data/record_encoder.h"

namespace corda::data {

// The number of records that a warning names one by one.
inline constexpr std::int64_t kRecordsListed = 20;

// Adds what became of one record, but for its samples.
void count_record(const EncodedRecord& encoded, EncodeCounts& counts);

// Adds what one sample shows.
void count_sample(const Sample& sample, const tokenizer::Tokenizer& tokenizer,
                  EncodeCounts& counts);

// One sentence a mistake: no end token among the targets, BOS twice, a padding token that is EOS
// and is masked, a template that does not fit the model or the data, samples that are all prompt,
// samples cut or dropped, the first of these with their places. `chat` may be null.
std::vector<std::string> find_mistakes(const EncodeCounts& counts,
                                       const tokenizer::Tokenizer& tokenizer,
                                       const EncodeSettings& settings, const ChatTemplate* chat);

// A sentence that names 'template' and 'system' where they were given and no template is used for
// these data; "" where neither was given.
std::string unused_template(const EncodeSettings& settings);

// Why there is no sample at all, and what to do.
std::string why_no_sample(const EncodeCounts& counts, const EncodeSettings& settings);

}  // namespace corda::data
