// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The segmentation of a text whose pieces have the largest sum of scores (Viterbi over byte
// positions).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "hash.h"
#include "unicode.h"
#include "vocabulary.h"

namespace corda::tokenizer {

// What a character without a piece costs beyond the least likely piece.
inline constexpr double kUnknownPenalty = 10.0;

// `Score` is what the sums are rounded to: equal sums are told apart by their rounding, so it is
// part of the result.
template <typename Score>
class BestPath {
 public:
  struct Part {
    std::string_view text;
    TokenId id = -1;
  };
  // What a character without a piece of its own counts as.
  struct Unknown {
    TokenId id = -1;
    Score score = 0;
  };

  // `bytes` of all pieces together.
  explicit BestPath(std::size_t bytes) : children_(bytes) {}

  void add(std::string_view piece, TokenId id, Score score);

  // The parts of `word`, valid UTF-8, in order. Of equal paths the one found first stays, which
  // has the longest last part. `fail(character)` is called, and must throw, where an unknown
  // character comes up and `unknown.id` is negative.
  template <typename Fail>
  std::vector<Part> find(std::string_view word, Unknown unknown, Fail fail) const;

 private:
  struct Step {
    Score score = 0;
    std::int32_t from = -1;
    TokenId id = -1;
  };
  static void offer(Step& step, std::size_t from, Score score, TokenId id) {
    if (step.from < 0 || score > step.score) step = {score, static_cast<std::int32_t>(from), id};
  }

  struct Node {
    TokenId id = -1;  // the piece that ends here
    Score score = 0;
  };
  std::vector<Node> nodes_{1};
  PairMap<std::uint32_t> children_;         // (node, byte) -> node
  std::array<std::uint32_t, 256> first_{};  // children of the root; 0 = none
};

template <typename Score>
void BestPath<Score>::add(std::string_view piece, TokenId id, Score score) {
  if (piece.empty()) return;  // never found in a text
  std::uint32_t node = 0;
  for (const char c : piece) {
    const auto byte = static_cast<std::uint8_t>(c);
    const std::uint32_t* child = children_.find(node, byte);
    if (child == nullptr) {
      const auto made = static_cast<std::uint32_t>(nodes_.size());
      nodes_.emplace_back();
      children_.set(node, byte, made);
      if (node == 0) first_[byte] = made;
      node = made;
    } else {
      node = *child;
    }
  }
  nodes_[node] = {id, score};
}

template <typename Score>
template <typename Fail>
auto BestPath<Score>::find(std::string_view word, Unknown unknown, Fail fail) const
    -> std::vector<Part> {
  std::vector<Step> steps(word.size() + 1);
  for (std::size_t begin = 0; begin < word.size();) {
    const Score so_far = steps[begin].score;
    const std::size_t width = utf8_length(word[begin]);
    bool has_single = false;
    std::uint32_t node = first_[static_cast<std::uint8_t>(word[begin])];
    for (std::size_t at = begin + 1; node != 0; ++at) {
      if (nodes_[node].id >= 0) {
        offer(steps[at], begin, nodes_[node].score + so_far, nodes_[node].id);
        has_single = has_single || at - begin == width;
      }
      if (at == word.size()) break;
      const std::uint32_t* child = children_.find(node, static_cast<std::uint8_t>(word[at]));
      node = child == nullptr ? 0 : *child;
    }
    if (!has_single) {
      if (unknown.id < 0) fail(word.substr(begin, width));
      offer(steps[begin + width], begin, unknown.score + so_far, unknown.id);
    }
    begin += width;
  }
  std::vector<Part> parts;
  for (std::size_t end = word.size(); end > 0;) {
    const auto begin = static_cast<std::size_t>(steps[end].from);
    parts.push_back({word.substr(begin, end - begin), steps[end].id});
    end = begin;
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace corda::tokenizer
