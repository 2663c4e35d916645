// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/prefix_tree.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "corda/core/error.h"

namespace corda::model {

struct PrefixTree::Builder {
  PrefixTree& tree;
  std::span<const std::span<const std::int32_t>> sequences;
  std::int64_t least;
  std::vector<std::size_t> order;  // lexicographic

  std::span<const std::int32_t> at(std::size_t i) const { return sequences[order[i]]; }
  std::int64_t length(std::size_t i) const { return static_cast<std::int64_t>(at(i).size()); }

  std::int64_t add_run(std::span<const std::int32_t> ids, std::int64_t position,
                       std::int64_t parent) {
    tree.ids_.insert(tree.ids_.end(), ids.begin(), ids.end());
    for (std::size_t i = 0; i < ids.size(); ++i)
      tree.positions_.push_back(static_cast<std::int32_t>(position) + static_cast<std::int32_t>(i));
    tree.offsets_.push_back(static_cast<std::int32_t>(tree.ids_.size()));
    tree.runs_.push_back({.parent = parent, .position = position});
    return static_cast<std::int64_t>(tree.runs_.size()) - 1;
  }

  // Places sequences [begin, end) of the order. Their tokens up to `placed` are in the tree
  // already, in the runs up to `parent`.
  void place(std::size_t begin, std::size_t end, std::int64_t placed, std::int64_t parent) {
    const auto first = at(begin);
    const auto last = at(end - 1);
    const auto limit = std::min(first.size(), last.size());
    auto same = static_cast<std::int64_t>(
        std::mismatch(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(limit),
                      last.begin())
            .first -
        first.begin());
    const bool equal = same == length(begin) && same == length(end - 1);
    if (same > placed && (equal || same - placed >= least)) {
      parent = add_run(
          first.subspan(static_cast<std::size_t>(placed), static_cast<std::size_t>(same - placed)),
          placed, parent);
      placed = same;
    }
    if (equal) {
      for (std::size_t i = begin; i < end; ++i) tree.ends_[order[i]] = parent;
      return;
    }
    split(begin, end, placed, parent, same);
  }

  // The groups of them that differ behind `same`; those that end there come first.
  void split(std::size_t begin, std::size_t end, std::int64_t placed, std::int64_t parent,
             std::int64_t same) {
    std::size_t ended = begin;
    while (ended < end && length(ended) == same) ++ended;
    if (ended > begin && placed == same) {
      for (std::size_t i = begin; i < ended; ++i) tree.ends_[order[i]] = parent;
    } else if (ended > begin) {
      place(begin, ended, placed, parent);
    }
    for (std::size_t from = ended; from < end;) {
      const std::int32_t id = at(from)[static_cast<std::size_t>(same)];
      std::size_t to = from + 1;
      while (to < end && at(to)[static_cast<std::size_t>(same)] == id) ++to;
      place(from, to, placed, parent);
      from = to;
    }
  }
};

PrefixTree::PrefixTree(std::span<const std::span<const std::int32_t>> sequences, std::int64_t least)
    : ends_(sequences.size(), -1) {
  Builder builder{.tree = *this, .sequences = sequences, .least = least, .order = {}};
  builder.order.resize(sequences.size());
  std::iota(builder.order.begin(), builder.order.end(), std::size_t{0});
  std::sort(builder.order.begin(), builder.order.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(sequences[a].begin(), sequences[a].end(),
                                        sequences[b].begin(), sequences[b].end());
  });
  for (const auto& sequence : sequences) {
    if (sequence.empty()) throw core::InternalError("a sequence of a prefix tree has no token");
  }
  // The root has no run, so the first groups are those with the same first token.
  if (!sequences.empty()) builder.split(0, sequences.size(), 0, -1, 0);
}

std::int64_t PrefixTree::row(std::size_t sequence, std::int64_t position) const {
  std::int64_t run = ends_[sequence];
  while (runs_[static_cast<std::size_t>(run)].position > position)
    run = runs_[static_cast<std::size_t>(run)].parent;
  const auto index = static_cast<std::size_t>(run);
  return offsets_[index] + position - runs_[index].position;
}

Batch PrefixTree::batch(std::int64_t vocab_size, at::Device device) const {
  return make_batch(ids_, positions_, offsets_, vocab_size, device);
}

PrefixTree::SharedAttention::SharedAttention(const PrefixTree& tree, at::Device device) {
  spans_.queries = tree.offsets_;
  std::vector<std::int64_t> rows;
  std::vector<std::int64_t> path;
  for (std::size_t i = 0; i < tree.runs_.size(); ++i) {
    path.clear();
    for (auto run = static_cast<std::int64_t>(i); run >= 0;
         run = tree.runs_[static_cast<std::size_t>(run)].parent)
      path.push_back(run);
    spans_.first_keys.push_back(static_cast<std::int32_t>(rows.size()));
    for (auto run = path.rbegin(); run != path.rend(); ++run) {
      const auto index = static_cast<std::size_t>(*run);
      for (std::int32_t row = tree.offsets_[index]; row < tree.offsets_[index + 1]; ++row)
        rows.push_back(row);
    }
    spans_.lengths.push_back(static_cast<std::int32_t>(rows.size()) - spans_.first_keys.back());
  }
  complete(spans_, device);
  if (static_cast<std::int64_t>(rows.size()) > tree.tokens())
    key_rows_ = at::tensor(rows, at::kLong).to(device);
}

at::Tensor PrefixTree::SharedAttention::attend(std::int64_t /*layer*/, const AttentionRule& rule,
                                               const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v) {
  if (!key_rows_.defined()) return attend_spans(spans_, rule, q, k, v);
  return attend_spans(spans_, rule, q, k.index_select(0, key_rows_), v.index_select(0, key_rows_));
}

}  // namespace corda::model
