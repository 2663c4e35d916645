// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Causal attention over packed sequences, and over keys that lie elsewhere.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "corda/model/batch.h"
#include "corda/model/description.h"

namespace corda::model {

// What the scores of a block are: softmax over the keys i - window < j <= i (all j <= i for window
// 0) of cap tanh(scale q k / cap) (of scale q k for cap 0).
struct AttentionRule {
  double scale = 1;
  std::int64_t window = 0;
  double soft_cap = 0;
};
AttentionRule attention_rule(const ModelDescription& model, std::int64_t layer);

// How a block attends; the forward pass is written once and given one of these.
class Attention {
 public:
  Attention() = default;
  Attention(const Attention&) = delete;
  Attention& operator=(const Attention&) = delete;
  virtual ~Attention() = default;
  // q [tokens, heads, d], k and v [tokens, kv_heads, d], rotated -> [tokens, heads, d].
  virtual at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v) = 0;
};

// Every token attends to tokens of its own sequence as the rule says. Differentiable. Never pads:
// flash attention with cu_seqlens for 16-bit tensors on the GPU, the memory-efficient kernel for
// fp32 there, one call a sequence on the CPU; scores written out, a part of the queries at a time,
// where those kernels do not know the rule. Key/value heads are shared by groups of query heads.
// With `fused`, cuDNN's attention where attention_pass.h has it, gradients too.
class PackedAttention final : public Attention {
 public:
  explicit PackedAttention(const Batch& batch, bool fused = false) : batch_(batch), fused_(fused) {}
  at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                    const at::Tensor& k, const at::Tensor& v) override;

 private:
  const Batch& batch_;
  bool fused_;
};

// Sequences whose queries are the last of their tokens and whose keys lie elsewhere: queries i are
// the rows [queries[i], queries[i + 1]) of q, keys i the rows from first_keys[i] on of k and v,
// `lengths[i]` of them, as many as queries or more. Query j from the end sees all but the last j
// keys, as far as the rule lets it.
struct KeySpans {
  std::vector<std::int32_t> queries;
  std::vector<std::int32_t> first_keys;
  std::vector<std::int32_t> lengths;
  std::int64_t most_queries = 0;
  std::int64_t most_keys = 0;
  // The same on the device, int32; cu_keys has one more.
  at::Tensor cu_queries = {};
  at::Tensor cu_keys = {};
  at::Tensor used_keys = {};
};
// Completes what the three lists on the host say.
void complete(KeySpans& spans, at::Device device);

// q [tokens, heads, d], k and v [rows, kv_heads, d] -> [tokens, heads, d], without gradients. Flash
// attention for 16-bit tensors on the GPU, else one call a sequence.
at::Tensor attend_spans(const KeySpans& spans, const AttentionRule& rule, const at::Tensor& q,
                        const at::Tensor& k, const at::Tensor& v);

}  // namespace corda::model
