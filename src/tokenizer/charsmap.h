// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// SentencePiece's precompiled normalization: a double-array trie from byte sequences to
// replacements.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace corda::tokenizer {

class Charsmap {
 public:
  // `blob` is the size of the trie in bytes (32 bits, little-endian), its units (32 bits each) and
  // the replacements, each ended by a zero byte. Throws FormatError with `source` where these do
  // not fit together.
  Charsmap(std::string_view blob, const std::string& source);

  struct Entry {
    std::size_t length = 0;  // bytes that it stands for
    std::string_view replacement;
  };

  // The replacement of the shortest entry that begins `text`, as Hugging Face's library takes it.
  std::optional<std::string_view> shortest(std::string_view text) const;
  // The longest entry that begins `text`, as the SentencePiece library takes it.
  std::optional<Entry> longest(std::string_view text) const;

 private:
  // A unit of a double array, packed as Darts-clone packs it.
  struct Unit {
    std::uint32_t bits = 0;
    bool has_leaf() const;
    std::uint32_t value() const;
    std::uint32_t label() const;
    std::uint32_t offset() const;
  };

  // Calls `visit(length, value)` for the entries that begin `text`, short ones first, while it
  // returns true.
  template <typename Visit>
  void for_each_entry(std::string_view text, Visit visit) const;
  std::optional<std::string_view> replacement(std::size_t at) const;

  std::vector<Unit> units_;
  std::string replacements_;
};

// The bytes of a base64 text, padded or not; nullopt where it is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace corda::tokenizer
