// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A batch on the device: sequences laid end to end, never padded.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace corda::model {

// Sequence i is the rows [offsets[i], offsets[i + 1]) of every [tokens, ...] tensor.
struct Batch {
  at::Tensor ids;                     // [tokens], int64
  at::Tensor positions;               // [tokens], int64
  at::Tensor cu_seqlens;              // [sequences + 1], int32, the same as `offsets`
  std::vector<std::int32_t> offsets;  // on the host
  std::int64_t longest = 0;           // tokens of the longest sequence
  // The last position of each sequence plus 1: its length, those before this batch included.
  std::vector<std::int64_t> lengths;
  at::Tensor target_rows;  // [targets], int64: the rows whose next token is a target
  at::Tensor target_ids;   // [targets], int64: those tokens

  std::int64_t tokens() const { return offsets.back(); }
  std::int64_t sequences() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
};

// Throws ConfigError where an id is outside [0, vocab_size): the tokenizer is another model's.
Batch make_batch(std::span<const std::int32_t> ids, std::span<const std::int32_t> positions,
                 std::span<const std::int32_t> offsets, std::int64_t vocab_size, at::Device device,
                 std::span<const std::int64_t> target_rows = {},
                 std::span<const std::int64_t> target_ids = {});

}  // namespace corda::model
