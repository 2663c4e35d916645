// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a SentencePiece model says about itself.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vocabulary.h"

namespace corda::tokenizer {

struct SentencePiecePiece {
  enum Type : std::uint64_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5
  };
  std::string text;
  float score = 0;
  std::uint64_t type = kNormal;
};

// The defaults are those of the format.
struct SentencePieceSpec {
  enum ModelType : std::uint64_t { kUnigram = 1, kBpe = 2, kWord = 3 };

  std::uint64_t model_type = kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string charsmap;                    // "": text stays as it is
  std::vector<SentencePiecePiece> pieces;  // by id

  // The pieces with their ids. Throws FormatError with `source` for one that stands twice.
  Vocabulary vocabulary(const std::string& source) const;

  // BPE that changes nothing of a text but for a space in front, as Llama's and Mistral's.
  bool is_like_llama() const {
    return model_type == kBpe && charsmap.empty() && add_dummy_prefix &&
           !remove_extra_whitespaces && escape_whitespaces && !whitespace_as_suffix;
  }
};

// Reads a serialized model. Throws FormatError with `source` where it is none, and where it is one
// of words or rewrites decoded text (denormalizer_spec), which is not implemented.
SentencePieceSpec read_sentencepiece_spec(std::string_view model, const std::string& source);

}  // namespace corda::tokenizer
