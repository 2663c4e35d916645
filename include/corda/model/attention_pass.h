// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Causal attention over packed sequences as a forward and a backward, without autograd.
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/model/batch.h"
#include "corda/model/config.h"

namespace corda::model {

// What a forward leaves for its backward.
struct AttentionPass {
  // kCudnn: sequences of one length, a multiple of 128 (each new shape costs cuDNN a plan, so odd
  // lengths, which rarely come again, do not go there). kFlash: other 16-bit batches, by
  // cu_seqlens. kAutograd: fp32 and the CPU; the backward runs the forward again.
  enum class Route { kCudnn, kFlash, kAutograd };
  Route route = Route::kAutograd;
  at::Tensor out;          // [tokens, heads, d], contiguous
  at::Tensor log_sum_exp;  // undefined for kAutograd, as are the two below
  at::Tensor seed;         // of the dropout that is never used
  at::Tensor offset;
};

// Whether heads of d elements of this dtype on a GPU are a case for flash attention (and so perhaps
// cuDNN's): 16 bits, d a multiple of 8 up to 256.
bool suits_flash(at::ScalarType type, std::int64_t d);
// The same of q [tokens, heads, d], wherever it lies.
bool suits_flash(const at::Tensor& q);
// Whether attention on a GPU copies k and v for every query head: where heads share them and are no
// case for flash attention, which reads them where they lie.
bool repeats_heads(at::ScalarType type, const ModelConfig& config);

// q [tokens, heads, d], k and v [tokens, kv_heads, d], rotated; views with any token stride. Every
// token attends to the earlier tokens of its own sequence and itself, scaled by 1 / sqrt(d).
AttentionPass attention_forward(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v);

// The gradients of q, k and v, contiguous, from that of the output [tokens, heads, d].
struct AttentionGradients {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};
AttentionGradients attention_backward(const Batch& batch, const AttentionPass& pass,
                                      const at::Tensor& grad_out, const at::Tensor& q,
                                      const at::Tensor& k, const at::Tensor& v);

}  // namespace corda::model
