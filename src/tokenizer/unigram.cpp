// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "unigram.h"

#include <algorithm>

#include "corda/core/error.h"

namespace corda::tokenizer {

Unigram::Unigram(Vocabulary vocabulary, const std::vector<double>& scores, UnigramOptions options,
                 const std::string& source)
    : vocabulary_(std::move(vocabulary)),
      options_(options),
      paths_(vocabulary_.bytes()),
      bytes_(byte_tokens(vocabulary_)) {
  if (options_.unknown_id) {
    if (*options_.unknown_id < 0 || *options_.unknown_id >= vocabulary_.end()) {
      throw core::FormatError(core::concat(source, ": the unknown id ", *options_.unknown_id,
                                           " is not in the vocabulary of ", vocabulary_.end(),
                                           " tokens"));
    }
    unknown_.id = static_cast<TokenId>(*options_.unknown_id);
  }
  double smallest = scores.empty() ? 0 : scores.front();
  for (TokenId id = 0; id < vocabulary_.end(); ++id) {
    const double score = scores[static_cast<std::size_t>(id)];
    smallest = std::min(smallest, score);
    paths_.add(vocabulary_.token(id).value_or(""), id, score);
  }
  unknown_.score = smallest - kUnknownPenalty;
}

// Neighbouring unknown parts count as one, which is looked up once more, as in the reference.
void Unigram::tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  scratch.words.append(word, ids, [&] {
    const auto parts = paths_.find(word, unknown_, [](std::string_view character) {
      throw core::ConfigError(core::concat("the character '", character,
                                           "' has no token, and the model has no unknown token"));
    });
    const auto is_unknown = [&](const auto& part) {
      return unknown_.id >= 0 && part.id == unknown_.id;
    };
    for (auto part = parts.begin(); part != parts.end();) {
      std::string_view text = part->text;
      const bool unknown = is_unknown(*part);
      for (++part; unknown && part != parts.end() && is_unknown(*part); ++part)
        text = {text.data(), text.size() + part->text.size()};
      write(text, ids);
    }
  });
}

void Unigram::write(std::string_view piece, std::vector<TokenId>& ids) const {
  if (const std::optional<TokenId> id = vocabulary_.find(piece)) {
    ids.push_back(*id);
    return;
  }
  const auto token_of = [&](char byte) { return bytes_[static_cast<std::uint8_t>(byte)]; };
  if (options_.byte_fallback &&
      std::all_of(piece.begin(), piece.end(), [&](char byte) { return token_of(byte) >= 0; })) {
    for (const char byte : piece) ids.push_back(token_of(byte));
    return;
  }
  ids.push_back(unknown_.id);
}

}  // namespace corda::tokenizer
