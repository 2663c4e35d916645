// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tokens and their ids, both ways.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "corda/tokenizer/tokenizer.h"

namespace corda::tokenizer {

// The largest id a file may use; keeps a hostile file from asking for gigabytes.
inline constexpr std::int64_t kMaxTokenId = (1 << 24) - 1;

class Vocabulary {
 public:
  using Entry = std::pair<std::string, std::int64_t>;

  Vocabulary() = default;
  // Throws FormatError with `source` for an id out of range, a token that stands twice or an id
  // with two tokens.
  Vocabulary(const std::vector<Entry>& entries, const std::string& source);

  std::optional<TokenId> find(std::string_view token) const;
  // nullopt where no token has that id.
  std::optional<std::string_view> token(TokenId id) const;
  // The bytes of all tokens together.
  std::size_t bytes() const { return text_.size(); }
  // Number of tokens.
  std::int64_t size() const { return count_; }
  // One more than the largest id.
  std::int64_t end() const { return static_cast<std::int64_t>(spans_.size()); }

 private:
  struct Span {
    std::uint32_t begin = 0;
    std::int32_t length = -1;
  };
  struct Slot {
    std::uint32_t hash = 0;
    TokenId id = -1;
  };
  std::string_view view(TokenId id) const;
  std::size_t locate(std::string_view token, std::uint64_t hash) const;

  std::string text_;
  std::vector<Span> spans_;
  std::vector<Slot> slots_;
  std::int64_t count_ = 0;
};

// The tokens <0x00> to <0xFF>, -1 for each that is not there.
std::array<TokenId, 256> byte_tokens(const Vocabulary& vocabulary);

}  // namespace corda::tokenizer
