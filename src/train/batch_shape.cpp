// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/batch_shape.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "core/round_up.h"

namespace corda::train {

namespace {

std::int64_t power_of_two_from(std::int64_t x) {
  return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(x)));
}

}  // namespace

std::int64_t filled_up_tokens(std::int64_t tokens) {
  return core::size_class(core::round_up(tokens, 64));
}

BatchShape own_shape(const data::PackedBatch& batch) {
  BatchShape shape{.tokens = batch.tokens(),
                   .sequences = batch.sequences(),
                   .targets = batch.targets(),
                   .longest = 0};
  for (std::size_t i = 1; i < batch.cu_seqlens.size(); ++i) {
    const std::int64_t length = batch.cu_seqlens[i] - batch.cu_seqlens[i - 1];
    shape.longest = std::max(shape.longest, length);
  }
  return shape;
}

BatchShape shape_for(const data::PackedBatch& batch) {
  const BatchShape own = own_shape(batch);
  BatchShape shape = own;
  shape.tokens = filled_up_tokens(own.tokens);
  const std::int64_t step = std::max<std::int64_t>(shape.tokens / 4, 1);
  shape.targets = std::min(shape.tokens, core::round_up(own.targets, step));
  const bool equal = own.tokens == own.sequences * own.longest;
  if (equal && own.tokens == shape.tokens) return shape;
  shape.longest = power_of_two_from(std::max<std::int64_t>(own.longest, 64));
  const std::int64_t fill = shape.tokens - own.tokens;
  shape.sequences = power_of_two_from(own.sequences + (fill + shape.longest - 1) / shape.longest);
  return shape;
}

namespace {

// Whether a batch of sizes `own` can be filled up to `shape`, at a price that is not absurd.
bool fits(const BatchShape& own, const BatchShape& shape) {
  constexpr std::int64_t kMuchLarger =
      8;  // empty sequences, and a longest one that is not there, cost little
  if (shape.tokens < own.tokens || shape.targets < own.targets || shape.longest < own.longest)
    return false;
  const std::int64_t fill = shape.tokens - own.tokens;
  return shape.sequences >= own.sequences + (fill + shape.longest - 1) / shape.longest &&
         2 * shape.tokens <= 3 * own.tokens &&
         shape.longest <= kMuchLarger * std::max<std::int64_t>(own.longest, 64) &&
         shape.sequences <= kMuchLarger * power_of_two_from(own.sequences);
}

// The cost of a batch of that shape in tokens; a target's row of logits counts as half of one.
std::int64_t cost_of(const BatchShape& shape) { return shape.tokens + shape.targets / 2; }

}  // namespace

BatchShape ShapeBook::shape_for(const data::PackedBatch& batch,
                                const std::function<bool(std::int64_t tokens)>& serves) {
  constexpr std::int64_t kRecording = 4;  // recording a shape takes as long as so many batches
  const BatchShape own = own_shape(batch);
  BatchShape fine = train::shape_for(batch);
  if (known_.contains(fine) || !serves(fine.tokens)) return fine;
  const BatchShape* best = nullptr;
  for (const BatchShape& shape : known_) {
    if (fits(own, shape) && (best == nullptr || cost_of(shape) < cost_of(*best))) best = &shape;
  }
  if (best != nullptr) {
    std::int64_t& debt = debt_[fine];
    debt += cost_of(*best) - cost_of(fine);
    if (debt <= kRecording * fine.tokens) return *best;
  } else if (fine.sequences * fine.longest > fine.tokens) {  // not of equal lengths
    for (const BatchShape& shape : known_) {
      if (shape.tokens != fine.tokens) continue;
      // The shape gets room for what others of this size needed, so that the next such batch finds
      // one.
      BatchShape roomy = fine;
      roomy.sequences = std::max(fine.sequences, shape.sequences);
      roomy.targets = std::max(fine.targets, shape.targets);
      roomy.longest = std::max(fine.longest, shape.longest);
      if (fits(own, roomy)) fine = roomy;
    }
  }
  known_.insert(fine);
  return fine;
}

data::PackedBatch filled_up(const data::PackedBatch& batch, const BatchShape& shape) {
  data::PackedBatch result = batch;
  while (result.tokens() < shape.tokens) {
    const std::int64_t length = std::min(shape.longest, shape.tokens - result.tokens());
    append(result, std::vector<data::TokenId>(static_cast<std::size_t>(length), 0));
  }
  while (result.sequences() < shape.sequences)
    result.cu_seqlens.push_back(result.cu_seqlens.back());
  // Rows are written once each, so the targets that count for nothing take rows that have none.
  std::vector<bool> taken(static_cast<std::size_t>(shape.tokens));
  for (const std::int64_t row : batch.target_rows) taken[static_cast<std::size_t>(row)] = true;
  for (std::int64_t row = shape.tokens; result.targets() < shape.targets;) {
    if (taken[static_cast<std::size_t>(--row)]) continue;
    result.target_rows.push_back(row);
    result.target_ids.push_back(-1);
  }
  return result;
}

}  // namespace corda::train
