// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads JSON in which a vocabulary of a hundred thousand entries must cost neither time nor memory.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.h"
#include "vocabulary.h"

namespace corda::tokenizer {

struct TokenizerJson {
  core::Json rest;                                          // the file without the two lists below
  std::vector<Vocabulary::Entry> vocabulary;                // model.vocab where it is an object
  std::vector<std::pair<std::string, std::string>> merges;  // model.merges, in either spelling
  bool has_vocabulary = false;
  bool has_merges = false;
};

// Parses a tokenizer.json. Throws FormatError with `source` and the position, for duplicate keys
// too (those of the vocabulary are left to Vocabulary).
TokenizerJson parse_tokenizer_json(std::string_view text, const std::string& source);

// Parses a vocab.json: an object from tokens to ids.
std::vector<Vocabulary::Entry> parse_vocabulary_json(std::string_view text,
                                                     const std::string& source);

// "left right" as a pair. Throws FormatError where there is not exactly one space.
std::pair<std::string, std::string> split_merge(std::string_view merge, const std::string& source);

}  // namespace corda::tokenizer
