// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The forward pass, as a composition of small steps; gradients come from autograd.
#pragma once

#include <functional>
#include <string>

#include "corda/model/attention.h"
#include "corda/model/batch.h"
#include "corda/model/model.h"

namespace corda::model {

// Called with the input [tokens, in] of every linear-layer site as the forward pass reaches it.
// Sites: "<block>.self_attn.input" (q, k, v), "<block>.self_attn.o_proj.input", "<block>.mlp.input"
// (gate, up), "<block>.mlp.down_proj.input".
using SiteObserver = std::function<void(const std::string& site, const at::Tensor& input)>;

// What stands in autograd's graph: ATen's operations alone (the oracle of everything else), or
// corda's kernels, which go over memory less often, round less often and keep no logits. A graph of
// kernels may be gone through backward once. Without gradients there is no difference.
enum class Operations { kAten, kKernels };

// cos and sin of the rotary angles of a batch, [tokens, 1, head_dim / 2], fp32.
struct Rotary {
  at::Tensor cos;
  at::Tensor sin;
};
Rotary rotary_of(const Model& model, const at::Tensor& positions);

// x W^T + bias, and the low-rank adapter where there is one. `x` [tokens, in] in the compute dtype.
at::Tensor apply(const Linear& linear, const at::Tensor& x,
                 Operations operations = Operations::kAten);

// Root-mean-square norm over the last dimension, computed in fp32.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

// ids [tokens] -> [tokens, hidden] in the compute dtype.
at::Tensor embed(const Model& model, const at::Tensor& ids);

// One decoder block, [tokens, hidden] -> [tokens, hidden]. `layer` is its number.
at::Tensor forward_block(const Model& model, std::int64_t layer, const at::Tensor& hidden,
                         const Rotary& rotary, Attention& attention,
                         const SiteObserver& observe = {},
                         Operations operations = Operations::kAten);

// All blocks and the final norm.
at::Tensor forward_hidden(const Model& model, const Batch& batch, Attention& attention,
                          const SiteObserver& observe = {},
                          Operations operations = Operations::kAten);

// The same from embedded tokens [tokens, hidden] on.
at::Tensor forward_embedded(const Model& model, const Batch& batch, at::Tensor hidden,
                            Attention& attention, const SiteObserver& observe = {},
                            Operations operations = Operations::kAten);

// The head on some rows: [rows, hidden] -> [rows, vocab].
at::Tensor logits_of(const Model& model, const at::Tensor& hidden);

// Sum of the cross-entropy, natural logarithm, of `target_ids` [n] given the rows `target_rows` [n]
// of `hidden`; fp32 scalar. Only those rows' logits are computed.
at::Tensor cross_entropy_sum(const Model& model, const at::Tensor& hidden,
                             const at::Tensor& target_rows, const at::Tensor& target_ids,
                             Operations operations = Operations::kAten);

// Forward pass and `cross_entropy_sum` over the batch's targets; the second from embedded tokens
// on.
at::Tensor loss_sum(const Model& model, const Batch& batch,
                    Operations operations = Operations::kAten);
at::Tensor loss_sum(const Model& model, const Batch& batch, const at::Tensor& embedded,
                    Operations operations);

}  // namespace corda::model
