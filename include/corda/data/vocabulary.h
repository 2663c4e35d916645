// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether a model has every token that data become: a tokenizer may know more of them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "corda/data/load.h"

namespace corda::data {

// A tokenizer, and how many rows the embedding has of the model that its ids go into.
struct Vocabulary {
  const tokenizer::Tokenizer& tokenizer;
  std::int64_t rows = 0;
};

// Throws ConfigError where an id has no row: `place`, the id, its token, the rows, what to do.
void require_rows(std::span<const TokenId> ids, const Vocabulary& vocabulary,
                  const std::string& place);

// The same of ids that come of the text of `files`: these are read again only to name the line of
// the first record that has the token, or where no record alone has it the files.
void require_rows(std::span<const TokenId> ids, const Vocabulary& vocabulary,
                  const std::vector<DataFile>& files, const EncodeSettings& settings);
void require_rows(const SampleStore& samples, const Vocabulary& vocabulary,
                  const std::vector<DataFile>& files, const EncodeSettings& settings);

}  // namespace corda::data
