// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Causal attention over packed sequences as a forward and a backward, without autograd.
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/model/attention.h"
#include "corda/model/batch.h"

namespace corda::model {

// What a forward leaves for its backward.
struct AttentionPass {
  // kCudnn: sequences of one length, a multiple of 128 (each new shape costs cuDNN a plan, so odd
  // lengths, which rarely come again, do not go there), that no window cuts. kFlash: other 16-bit
  // batches, by cu_seqlens. kAutograd: fp32, soft caps and the CPU; the backward runs the forward
  // again.
  enum class Route { kCudnn, kFlash, kAutograd };
  Route route = Route::kAutograd;
  at::Tensor out;          // [tokens, heads, d], contiguous
  at::Tensor log_sum_exp;  // undefined for kAutograd, as are the two below
  at::Tensor seed;         // of the dropout that is never used
  at::Tensor offset;
};

// Whether heads of d elements of this dtype on a GPU are a case for flash attention (and so perhaps
// cuDNN's): 16 bits, d a multiple of 8 up to 256, and scores without a soft cap.
bool suits_flash(at::ScalarType type, const AttentionDescription& attention);
// The same of q [tokens, heads, d], wherever it lies.
bool suits_flash(const at::Tensor& q, const AttentionRule& rule);
// Whether attention on a GPU copies k and v for every query head: where heads share them and are no
// case for flash attention, which reads them where they lie.
bool repeats_heads(at::ScalarType type, const AttentionDescription& attention);

// q [tokens, heads, d], k and v [tokens, kv_heads, d], rotated; views with any token stride. Every
// token attends to tokens of its own sequence as the rule says.
AttentionPass attention_forward(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                                const at::Tensor& k, const at::Tensor& v);

// The gradients of q, k and v, contiguous, from that of the output [tokens, heads, d].
struct AttentionGradients {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};
AttentionGradients attention_backward(const Batch& batch, const AttentionRule& rule,
                                      const AttentionPass& pass, const at::Tensor& grad_out,
                                      const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v);

}  // namespace corda::model
