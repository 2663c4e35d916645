// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sequences that begin alike, laid out so that what they share is computed once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "corda/model/attention.h"
#include "corda/model/batch.h"

namespace corda::model {

// A tree of runs of tokens; a sequence is the runs from a root to where it ends.
class PrefixTree {
 public:
  // Sequences of at least one token each. What some of them have in common at a place of the tree
  // becomes a run of its own where it is `least` tokens or longer.
  PrefixTree(std::span<const std::span<const std::int32_t>> sequences, std::int64_t least);

  std::int64_t tokens() const { return static_cast<std::int64_t>(ids_.size()); }
  // The row of token `position` of a sequence.
  std::int64_t row(std::size_t sequence, std::int64_t position) const;
  // The runs as a batch's sequences.
  Batch batch(std::int64_t vocab_size, at::Device device) const;

  // Each run attends to the runs before it on its way from the root.
  class SharedAttention;

 private:
  struct Run {
    std::int64_t parent = -1;
    std::int64_t position = 0;  // of its first token
  };
  struct Builder;

  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> positions_;
  std::vector<std::int32_t> offsets_ = {0};  // of the runs
  std::vector<Run> runs_;
  std::vector<std::int64_t> ends_;  // a sequence's last run
};

class PrefixTree::SharedAttention final : public Attention {
 public:
  SharedAttention(const PrefixTree& tree, at::Device device);
  at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                    const at::Tensor& k, const at::Tensor& v) override;

 private:
  KeySpans spans_;
  at::Tensor key_rows_;  // of all runs one behind the other; undefined where they are the rows
};

}  // namespace corda::model
