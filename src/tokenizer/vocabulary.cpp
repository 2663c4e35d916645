// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "vocabulary.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <limits>

#include "corda/core/error.h"
#include "hash.h"

namespace corda::tokenizer {

Vocabulary::Vocabulary(const std::vector<Entry>& entries, const std::string& source) {
  std::int64_t largest = -1;
  std::size_t bytes = 0;
  for (const auto& [token, id] : entries) {
    if (id < 0 || id > kMaxTokenId) {
      throw core::FormatError(core::concat(source, ": the token '", token, "' has the id ", id,
                                           ", outside 0 to ", kMaxTokenId));
    }
    largest = std::max(largest, id);
    bytes += token.size();
  }
  if (bytes > std::numeric_limits<std::uint32_t>::max())
    throw core::FormatError(core::concat(source, ": the vocabulary is larger than 4 GB"));
  text_.reserve(bytes);
  spans_.resize(static_cast<std::size_t>(largest + 1));
  slots_.resize(std::bit_ceil(entries.size() * 2 + 16));
  for (const auto& [token, id] : entries) {
    Span& span = spans_[static_cast<std::size_t>(id)];
    if (span.length >= 0) {
      throw core::FormatError(core::concat(source, ": the id ", id, " belongs to two tokens, '",
                                           view(static_cast<TokenId>(id)), "' and '", token, "'"));
    }
    const std::uint64_t hash = hash_bytes(token);
    Slot& slot = slots_[locate(token, hash)];
    if (slot.id >= 0)
      throw core::FormatError(
          core::concat(source, ": the token '", token, "' stands twice in the vocabulary"));
    slot = {static_cast<std::uint32_t>(hash >> 32), static_cast<TokenId>(id)};
    span = {static_cast<std::uint32_t>(text_.size()), static_cast<std::int32_t>(token.size())};
    text_ += token;
  }
  count_ = static_cast<std::int64_t>(entries.size());
}

std::string_view Vocabulary::view(TokenId id) const {
  const Span& span = spans_[static_cast<std::size_t>(id)];
  return std::string_view(text_).substr(span.begin, static_cast<std::size_t>(span.length));
}

std::size_t Vocabulary::locate(std::string_view token, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>(hash) & mask;
  while (slots_[at].id >= 0 && (slots_[at].hash != static_cast<std::uint32_t>(hash >> 32) ||
                                view(slots_[at].id) != token)) {
    at = (at + 1) & mask;
  }
  return at;
}

std::optional<TokenId> Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return std::nullopt;
  const TokenId id = slots_[locate(token, hash_bytes(token))].id;
  if (id < 0) return std::nullopt;
  return id;
}

std::optional<std::string_view> Vocabulary::token(TokenId id) const {
  if (id < 0 || id >= end() || spans_[static_cast<std::size_t>(id)].length < 0) return std::nullopt;
  return view(id);
}

std::array<TokenId, 256> byte_tokens(const Vocabulary& vocabulary) {
  std::array<TokenId, 256> tokens{};
  for (unsigned byte = 0; byte < tokens.size(); ++byte) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", byte);
    tokens[byte] = vocabulary.find(text).value_or(-1);
  }
  return tokens;
}

}  // namespace corda::tokenizer
