// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "word_piece.h"

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

TokenId unknown_id(const Vocabulary& vocabulary, const std::string& token, std::string_view word) {
  if (const std::optional<TokenId> id = vocabulary.find(token)) return *id;
  throw core::ConfigError(core::concat("the word '", word.substr(0, 100),
                                       "' has no token, and the unknown token '", token,
                                       "' is not in the vocabulary"));
}

}  // namespace

WordPiece::WordPiece(Vocabulary vocabulary, WordPieceOptions options)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  for (TokenId id = 0; id < vocabulary_.end(); ++id)
    longest_token_ = std::max(longest_token_, vocabulary_.token(id).value_or("").size());
}

void WordPiece::tokenize(std::string_view word, Scratch&, std::vector<TokenId>& ids) const {
  const std::size_t begin = ids.size();
  if (count_characters(word) <= options_.longest_word && cut(word, ids)) return;
  ids.resize(begin);
  ids.push_back(unknown_id(vocabulary_, options_.unknown_token, word));
}

bool WordPiece::cut(std::string_view word, std::vector<TokenId>& ids) const {
  std::string candidate;
  for (std::size_t begin = 0; begin < word.size();) {
    // Nothing longer than the longest token needs to be tried.
    std::size_t end = std::min(word.size(), begin + longest_token_);
    while (end < word.size() && core::is_utf8_continuation(word[end])) --end;
    std::optional<TokenId> id;
    while (end > begin) {
      std::string_view part = word.substr(begin, end - begin);
      if (begin > 0 && !options_.continuing_prefix.empty()) {
        candidate.assign(options_.continuing_prefix).append(part);
        part = candidate;
      }
      id = vocabulary_.find(part);
      if (id) break;
      do --end;
      while (end > begin && core::is_utf8_continuation(word[end]));
    }
    if (!id) return false;
    ids.push_back(*id);
    begin = end;
  }
  return true;
}

WordLevel::WordLevel(Vocabulary vocabulary, std::string unknown_token)
    : vocabulary_(std::move(vocabulary)), unknown_token_(std::move(unknown_token)) {}

void WordLevel::tokenize(std::string_view word, Scratch&, std::vector<TokenId>& ids) const {
  const std::optional<TokenId> id = vocabulary_.find(word);
  ids.push_back(id ? *id : unknown_id(vocabulary_, unknown_token_, word));
}

}  // namespace corda::tokenizer
