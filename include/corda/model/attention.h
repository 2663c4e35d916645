// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Causal attention over packed sequences, and over a key/value cache.
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

// Keys and values of the tokens seen so far, for generation without gradients.
class KeyValueCache {
 public:
  // Room for `capacity` tokens of each of `sequences` sequences in every layer.
  KeyValueCache(std::int64_t layers, std::int64_t sequences, std::int64_t kv_heads,
                std::int64_t capacity, std::int64_t head_dim, at::TensorOptions options);

  // PackedAttention that also stores the batch's keys and values.
  class Prefill;
  // One new token a sequence, attending to everything stored.
  class Decode;

  // Called once after every layer stored its keys and values.
  void advance(const std::vector<std::int64_t>& new_tokens);

 private:
  std::vector<at::Tensor> keys_;  // a layer: [sequences, kv_heads, capacity, d]
  std::vector<at::Tensor> values_;
  at::Tensor lengths_;  // [sequences], int64
};

class KeyValueCache::Prefill final : public Attention {
 public:
  Prefill(KeyValueCache& cache, const Batch& batch)
      : cache_(cache), packed_(batch), batch_(batch) {}
  at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                    const at::Tensor& k, const at::Tensor& v) override;

 private:
  KeyValueCache& cache_;
  PackedAttention packed_;
  const Batch& batch_;
};

class KeyValueCache::Decode final : public Attention {
 public:
  explicit Decode(KeyValueCache& cache);
  at::Tensor attend(std::int64_t layer, const AttentionRule& rule, const at::Tensor& q,
                    const at::Tensor& k, const at::Tensor& v) override;

 private:
  KeyValueCache& cache_;
  at::Tensor slots_;  // [capacity]
};

}  // namespace corda::model
