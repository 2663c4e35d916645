// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "added_tokens.h"

#include <algorithm>

#include "corda/core/text.h"
#include "unicode.h"

namespace corda::tokenizer {

namespace {

char32_t last_code_point(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && core::is_utf8_continuation(text[at])) --at;
  return next_code_point(text, at);
}

// \w of the regular expressions that look at a token's neighbours, which includes the joiners.
bool is_word_neighbour(char32_t c) { return is_word(c) || c == 0x200C || c == 0x200D; }

// Where the white space at the end of `text` begins.
std::size_t without_trailing_space(std::string_view text) {
  while (!text.empty()) {
    const char32_t c = last_code_point(text);
    if (!is_whitespace(c)) break;
    std::size_t size = 1;
    while (core::is_utf8_continuation(text[text.size() - size])) ++size;
    text.remove_suffix(size);
  }
  return text.size();
}

std::size_t leading_space(std::string_view text) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size(); end = at) {
    if (!is_whitespace(next_code_point(text, at))) break;
  }
  return end;
}

bool stands_alone(std::string_view text, const Trie::Hit& hit) {
  std::size_t after = hit.end;
  return (hit.begin == 0 || !is_word_neighbour(last_code_point(text.substr(0, hit.begin)))) &&
         (hit.end == text.size() || !is_word_neighbour(next_code_point(text, after)));
}

bool reaches_into(std::span<const ByteSpan> spans, const Trie::Hit& hit) {
  const auto begin = static_cast<std::int64_t>(hit.begin);
  const auto at = std::partition_point(spans.begin(), spans.end(),
                                       [&](const ByteSpan& span) { return span.end <= begin; });
  return at != spans.end() && at->begin < static_cast<std::int64_t>(hit.end);
}

}  // namespace

std::int32_t Trie::child(std::int32_t node, char byte) const {
  for (const auto& [label, target] : nodes_[static_cast<std::size_t>(node)].children) {
    if (label == byte) return target;
  }
  return 0;
}

void Trie::add(std::string_view pattern, std::int32_t value) {
  std::int32_t node = 0;
  for (const char byte : pattern) {
    std::int32_t next = child(node, byte);
    if (next == 0) {
      next = static_cast<std::int32_t>(nodes_.size());
      nodes_[static_cast<std::size_t>(node)].children.emplace_back(byte, next);
      nodes_.emplace_back();
      if (node == 0) first_[static_cast<std::uint8_t>(byte)] = next;
    }
    node = next;
  }
  std::int32_t& kept = nodes_[static_cast<std::size_t>(node)].value;
  if (kept < 0) kept = value;  // of two equal patterns the first wins
}

std::optional<Trie::Hit> Trie::find(std::string_view text, std::size_t from) const {
  if (empty()) return std::nullopt;
  for (std::size_t begin = from; begin < text.size(); ++begin) {
    std::int32_t node = first_[static_cast<std::uint8_t>(text[begin])];
    Hit hit;
    for (std::size_t at = begin + 1; node != 0; ++at) {
      const std::int32_t value = nodes_[static_cast<std::size_t>(node)].value;
      if (value >= 0) hit = {begin, at, value};
      if (at == text.size()) break;
      node = child(node, text[at]);
    }
    if (hit.value >= 0) return hit;
  }
  return std::nullopt;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer) {
  for (AddedToken& token : tokens) {
    if (token.content.empty()) continue;  // the reference drops these too
    const auto [at, is_new] = by_content_.emplace(token.content, tokens_.size());
    if (is_new) {
      tokens_.push_back(std::move(token));
    } else {
      tokens_[at->second] = std::move(token);
    }
  }
  // Special tokens come first, for this is the order in which equal patterns are tried.
  for (const bool special : {true, false}) {
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      by_id_[token.id] = i;
      const auto value = static_cast<std::int32_t>(i);
      token.text = token.normalized && normalizer != nullptr ? normalizer->apply(token.content)
                                                             : token.content;
      if (!token.text.empty()) (token.normalized ? normalized_ : raw_).add(token.text, value);
    }
  }
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto at = by_content_.find(std::string(content));
  return at == by_content_.end() ? nullptr : &tokens_[at->second];
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto at = by_id_.find(id);
  return at == by_id_.end() ? nullptr : &tokens_[at->second];
}

void AddedTokens::split(const Piece& piece, const Trie& trie, bool parse_special,
                        std::span<const ByteSpan> literal, std::vector<Piece>& out) const {
  const std::string_view text = piece.text;
  std::size_t done = 0;
  const auto emit = [&](std::size_t begin, std::size_t end, TokenId id) {
    if (begin < end) out.push_back(piece.part(begin, end, id));
  };
  std::size_t from = 0;
  while (const std::optional<Trie::Hit> hit = trie.find(text, from)) {
    from = hit->end;
    const AddedToken& token = tokens_[static_cast<std::size_t>(hit->value)];
    if (token.special && !parse_special) continue;
    if (token.special && reaches_into(literal, *hit)) {
      from = hit->begin + 1;
      continue;
    }
    if (token.single_word && !stands_alone(text, *hit)) continue;
    std::size_t begin = hit->begin;
    std::size_t end = hit->end;
    if (token.lstrip) begin = std::max(without_trailing_space(text.substr(0, begin)), done);
    if (token.rstrip) end += leading_space(text.substr(end));
    emit(done, begin, -1);
    emit(begin, end, token.id);
    done = end;
  }
  emit(done, text.size(), -1);
}

void AddedTokens::extract_raw(std::string_view text, bool parse_special,
                              std::span<const ByteSpan> literal, std::vector<Piece>& out) const {
  const std::size_t first = text.empty() ? 0 : utf8_length(text.front());
  split({.text = text, .first_bytes = first}, raw_, parse_special, literal, out);
}

void AddedTokens::extract_normalized(Piece piece, const Normalizer* normalizer, bool parse_special,
                                     std::span<const ByteSpan> literal, Scratch& scratch) const {
  piece.from_beginning = piece.at_beginning();
  const Piece raw = piece;
  if (normalizer != nullptr) normalizer->apply(piece, scratch);
  if (literal.empty() || normalized_.empty() || piece.text == raw.text) {
    split(piece, normalized_, parse_special, literal, scratch.pieces);
    return;
  }
  // Finds a place in the normalized text: it is behind all that stands before it, normalized.
  const auto moved = [&](std::int64_t offset) {
    Piece before = raw;
    before.text = raw.text.substr(0, static_cast<std::size_t>(offset));
    normalizer->apply(before, scratch);
    return static_cast<std::int64_t>(before.text.size());
  };
  std::vector<ByteSpan> spans;
  for (const ByteSpan& span : literal) spans.push_back({moved(span.begin), moved(span.end)});
  split(piece, normalized_, parse_special, spans, scratch.pieces);
}

void AddedTokens::extract(std::string_view text, const Normalizer* normalizer, bool parse_special,
                          Scratch& scratch, std::span<const ByteSpan> literal) const {
  scratch.pieces.clear();
  scratch.spare.clear();
  extract_raw(text, parse_special, literal, scratch.spare);
  std::vector<ByteSpan> inside;
  for (const Piece& piece : scratch.spare) {
    if (piece.id >= 0) {
      scratch.pieces.push_back(piece);
      continue;
    }
    inside.clear();
    spans_inside(literal, piece.text.data() - text.data(), piece.text.size(), inside);
    extract_normalized(piece, normalizer, parse_special, inside, scratch);
  }
}

void spans_inside(std::span<const ByteSpan> spans, std::ptrdiff_t begin, std::size_t size,
                  std::vector<ByteSpan>& out) {
  const std::int64_t from = begin;
  const std::int64_t to = from + static_cast<std::int64_t>(size);
  auto at = std::partition_point(spans.begin(), spans.end(),
                                 [&](const ByteSpan& span) { return span.end <= from; });
  for (; at != spans.end() && at->begin < to; ++at)
    out.push_back({std::max(at->begin, from) - from, std::min(at->end, to) - from});
}

}  // namespace corda::tokenizer
