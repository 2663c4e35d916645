// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Attention over packed sequences by ATen, for attention.cpp with autograd and attention_pass.cpp
// without. q [tokens, heads, d], k and v [tokens, kv_heads, d] -> [tokens, heads, d].
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "corda/model/attention.h"
#include "corda/model/attention_pass.h"
#include "corda/model/batch.h"

namespace corda::model {

// Flash attention by cu_seqlens. q must suit it (`suits_flash`).
AttentionPass attend_flash(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v);

// Any q and any rule: one call a sequence on the CPU, the memory-efficient kernel by cu_seqlens on
// the GPU; parts (below) where the rule is neither's.
at::Tensor attend_any(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                      const at::Tensor& k, const at::Tensor& v);

// The window that can matter in the batch: 0 where no sequence is longer than it.
std::int64_t window_in(const Batch& batch, const AttentionRule& rule);

// Whether attention goes part by part, with scores written out.
bool goes_by_parts(const Batch& batch, const AttentionRule& rule);

// Rows of queries whose written-out scores over so many keys are a bounded amount of memory; at
// least 1.
std::int64_t query_rows_at_once(std::int64_t heads, std::int64_t keys);

// Rows of one sequence that attend together, and the keys that any of them sees; few enough that
// their scores are a bounded amount of memory.
struct AttentionPart {
  std::int64_t begin = 0;  // queries
  std::int64_t end = 0;
  std::int64_t first_key = 0;  // keys up to `end`
};
std::vector<AttentionPart> attention_parts(const Batch& batch, const AttentionRule& rule,
                                           std::int64_t heads);
// The rows [begin, end) of the output from q [rows, heads, d] of the part's queries, k and v of its
// keys. Differentiable.
at::Tensor attend_part(const AttentionPart& part, const AttentionRule& rule, const at::Tensor& q,
                       const at::Tensor& k, const at::Tensor& v);

// Scores written out in fp32: q [.., heads, n, d], k and v [.., kv_heads, m, d], seen [.., n, m],
// which broadcasts -> [.., heads, n, d].
at::Tensor attend_written_out(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const at::Tensor& seen, const AttentionRule& rule);

}  // namespace corda::model
