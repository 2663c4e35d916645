// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tokens that are found in the text before anything else looks at it.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "normalizer.h"
#include "scratch.h"
#include "vocabulary.h"

namespace corda::tokenizer {

struct AddedToken {
  std::string content;
  TokenId id = -1;
  bool special = false;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space on its left
  bool rstrip = false;       // takes the white space on its right
  bool normalized = true;    // looked for in the normalized text
  std::string text = {};     // what it decodes to: the content, normalized if it is looked for so
};

// Finds any of several strings: the leftmost, and of those the longest.
class Trie {
 public:
  void add(std::string_view pattern, std::int32_t value);
  bool empty() const { return nodes_.size() == 1; }

  struct Hit {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::int32_t value = -1;
  };
  std::optional<Hit> find(std::string_view text, std::size_t from) const;

 private:
  struct Node {
    std::vector<std::pair<char, std::int32_t>> children;
    std::int32_t value = -1;
  };
  std::int32_t child(std::int32_t node, char byte) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<std::int32_t, 256> first_{};  // the root's children; 0 = none
};

class AddedTokens {
 public:
  AddedTokens() = default;
  // `normalizer` may be null. A content that stands twice keeps the later description.
  AddedTokens(std::vector<AddedToken> tokens, const Normalizer* normalizer);

  // Replaces `scratch.pieces` by pieces of `text`: recognised tokens, and normalized text between
  // them. Without `parse_special`, and where they reach into a span of `literal` (offsets into
  // `text`), special tokens are text.
  void extract(std::string_view text, const Normalizer* normalizer, bool parse_special,
               Scratch& scratch, std::span<const ByteSpan> literal = {}) const;
  // The first step of `extract`: tokens recognised in the raw text, and the text between them.
  void extract_raw(std::string_view text, bool parse_special, std::span<const ByteSpan> literal,
                   std::vector<Piece>& out) const;
  // The second step: appends a piece of text, normalized, and the tokens recognised in that.
  // `literal` are offsets into `piece.text`.
  void extract_normalized(Piece piece, const Normalizer* normalizer, bool parse_special,
                          std::span<const ByteSpan> literal, Scratch& scratch) const;

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const AddedToken* find(std::string_view content) const;
  const AddedToken* find(TokenId id) const;

 private:
  void split(const Piece& piece, const Trie& trie, bool parse_special,
             std::span<const ByteSpan> literal, std::vector<Piece>& out) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, std::size_t> by_content_;
  std::unordered_map<TokenId, std::size_t> by_id_;
  Trie raw_;
  Trie normalized_;
};

// Appends the parts of ascending `spans` that lie in [begin, begin + size), as offsets into that.
void spans_inside(std::span<const ByteSpan> spans, std::ptrdiff_t begin, std::size_t size,
                  std::vector<ByteSpan>& out);

}  // namespace corda::tokenizer
