// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "sentencepiece_unigram.h"

#include <algorithm>
#include <limits>

#include "corda/core/error.h"

namespace corda::tokenizer {

namespace {

using Type = SentencePiecePiece::Type;

// A symbol of the user's wins over every other way to write it, and a longer one over shorter ones.
float score_of(const SentencePiecePiece& piece) {
  if (piece.type != Type::kUserDefined) return piece.score;
  return 0.1F * (static_cast<float>(piece.text.size()) - 1);
}

}  // namespace

SentencePieceUnigram::SentencePieceUnigram(const SentencePieceSpec& spec, const std::string& source)
    : vocabulary_(spec.vocabulary(source)),
      byte_fallback_(spec.byte_fallback),
      paths_(vocabulary_.bytes()),
      bytes_(byte_tokens(vocabulary_)) {
  float smallest = std::numeric_limits<float>::max();
  for (TokenId id = 0; id < vocabulary_.end(); ++id) {
    const SentencePiecePiece& piece = spec.pieces[static_cast<std::size_t>(id)];
    if (piece.type == Type::kNormal) smallest = std::min(smallest, piece.score);
    if (piece.type == Type::kNormal || piece.type == Type::kUserDefined)
      paths_.add(piece.text, id, score_of(piece));
    if (piece.type == Type::kUnknown) unknown_.id = id;
  }
  if (unknown_.id < 0)
    throw core::FormatError(core::concat(source, ": no piece of the model is the unknown one"));
  unknown_.score = smallest - static_cast<float>(kUnknownPenalty);
}

// With byte fallback an unknown character becomes its bytes, else neighbours become one unknown
// piece.
void SentencePieceUnigram::tokenize(std::string_view word, Scratch& scratch,
                                    std::vector<TokenId>& ids) const {
  scratch.words.append(word, ids, [&] {
    bool behind_unknown = false;
    for (const auto& part : paths_.find(word, unknown_, [](std::string_view) {})) {
      const bool is_unknown = part.id == unknown_.id;
      if (is_unknown && byte_fallback_) {
        for (const char byte : part.text) ids.push_back(bytes_[static_cast<std::uint8_t>(byte)]);
      } else if (!is_unknown || !behind_unknown) {
        ids.push_back(part.id);
      }
      behind_unknown = is_unknown;
    }
  });
}

}  // namespace corda::tokenizer
