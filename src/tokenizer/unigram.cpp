// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "unigram.h"

#include <algorithm>
#include <cstdio>

#include "corda/core/error.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

// What a character without a token costs beyond the least likely token, as in SentencePiece.
constexpr double kUnknownPenalty = 10.0;

std::size_t bytes_of(const Vocabulary& vocabulary) {
  std::size_t bytes = 0;
  for (TokenId id = 0; id < vocabulary.end(); ++id)
    bytes += vocabulary.token(id).value_or("").size();
  return bytes;
}

}  // namespace

Unigram::Unigram(Vocabulary vocabulary, std::vector<double> scores, UnigramOptions options,
                 const std::string& source)
    : vocabulary_(std::move(vocabulary)),
      scores_(std::move(scores)),
      options_(options),
      ends_(1, -1),
      children_(bytes_of(vocabulary_)) {
  if (options_.unknown_id) {
    if (*options_.unknown_id < 0 || *options_.unknown_id >= vocabulary_.end()) {
      throw core::FormatError(core::concat(source, ": the unknown id ", *options_.unknown_id,
                                           " is not in the vocabulary of ", vocabulary_.end(),
                                           " tokens"));
    }
    unknown_ = static_cast<TokenId>(*options_.unknown_id);
  }
  double smallest = 0;
  for (TokenId id = 0; id < vocabulary_.end(); ++id) {
    const double score = scores_[static_cast<std::size_t>(id)];
    smallest = id == 0 ? score : std::min(smallest, score);
    add_token(vocabulary_.token(id).value_or(""), id);
  }
  unknown_score_ = smallest - kUnknownPenalty;
  for (unsigned byte = 0; byte < 256; ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    bytes_[byte] = vocabulary_.find(text).value_or(-1);
  }
  safe_cut_ = find_safe_cut(vocabulary_);
}

void Unigram::add_token(std::string_view token, TokenId id) {
  if (token.empty()) return;  // never found in a text
  std::uint32_t node = 0;
  for (const char c : token) {
    const auto byte = static_cast<std::uint8_t>(c);
    const std::uint32_t* child = children_.find(node, byte);
    if (child == nullptr) {
      const auto made = static_cast<std::uint32_t>(ends_.size());
      ends_.push_back(-1);
      children_.set(node, byte, made);
      if (node == 0) first_[byte] = made;
      node = made;
    } else {
      node = *child;
    }
  }
  ends_[node] = id;
}

void Unigram::tokenize(std::string_view word, Scratch& scratch, std::vector<TokenId>& ids) const {
  for_each_safe_part(word, safe_cut_,
                     [&](std::string_view part) { tokenize_part(part, scratch, ids); });
}

void Unigram::tokenize_part(std::string_view word, Scratch& scratch,
                            std::vector<TokenId>& ids) const {
  if (word.empty()) return;
  const std::uint64_t hash = hash_bytes(word);
  std::span<const TokenId> known;
  if (scratch.words.find(word, hash, known)) {
    ids.insert(ids.end(), known.begin(), known.end());
    return;
  }
  const std::size_t begin = ids.size();
  std::vector<Step> steps(word.size() + 1);
  best_path(word, steps);
  write_path(word, steps, ids);
  scratch.words.add(word, hash, std::span(ids).subspan(begin));
}

// Viterbi over byte positions; of equal paths the one found first stays.
void Unigram::best_path(std::string_view word, std::vector<Step>& steps) const {
  const auto offer = [&](std::size_t from, std::size_t to, double score, TokenId id) {
    Step& step = steps[to];
    if (step.from < 0 || score > step.score) step = {score, static_cast<std::int32_t>(from), id};
  };
  for (std::size_t begin = 0; begin < word.size();) {
    const double so_far = steps[begin].score;
    const std::size_t width = utf8_length(word[begin]);
    bool has_single = false;
    std::uint32_t node = first_[static_cast<std::uint8_t>(word[begin])];
    for (std::size_t at = begin + 1; node != 0; ++at) {
      if (const TokenId id = ends_[node]; id >= 0) {
        offer(begin, at, scores_[static_cast<std::size_t>(id)] + so_far, id);
        has_single = has_single || at - begin == width;
      }
      if (at == word.size()) break;
      const std::uint32_t* child = children_.find(node, static_cast<std::uint8_t>(word[at]));
      node = child == nullptr ? 0 : *child;
    }
    if (!has_single) {
      if (unknown_ < 0) {
        throw core::ConfigError(core::concat("[tokenizer::Unigram] the character '",
                                             word.substr(begin, width),
                                             "' has no token, and the model has no unknown token"));
      }
      offer(begin, begin + width, unknown_score_ + so_far, unknown_);
    }
    begin += width;
  }
}

// Neighbouring unknown parts count as one, which is looked up once more, as in the reference.
void Unigram::write_path(std::string_view word, const std::vector<Step>& steps,
                         std::vector<TokenId>& ids) const {
  std::vector<std::string_view> pieces;  // from the last to the first
  bool was_unknown = false;
  for (std::size_t end = word.size(); end > 0;) {
    const Step& step = steps[end];
    const auto begin = static_cast<std::size_t>(step.from);
    const bool is_unknown = unknown_ >= 0 && step.id == unknown_;
    if (is_unknown && was_unknown) {
      pieces.back() = word.substr(begin, end - begin + pieces.back().size());
    } else {
      pieces.push_back(word.substr(begin, end - begin));
    }
    was_unknown = is_unknown;
    end = begin;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) write(*piece, ids);
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
  ids.push_back(unknown_);
}

}  // namespace corda::tokenizer
