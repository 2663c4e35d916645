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
