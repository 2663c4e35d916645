// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The forward pass, as a composition of small steps; gradients come from autograd.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/norm_kind.h"
#include "corda/model/attention.h"
#include "corda/model/batch.h"
#include "corda/model/model.h"

namespace corda::model {

// Called with the input [tokens, in] of every site as the forward pass reaches it, by the names of
// `sites_of`.
using SiteObserver = std::function<void(const std::string& site, const at::Tensor& input)>;

// What stands in autograd's graph: ATen's operations alone (the oracle of everything else), or
// corda's kernels, which go over memory less often, round less often and keep no logits. A graph of
// kernels may be gone through backward once. Without gradients there is no difference.
enum class Operations { kAten, kKernels };

// cos and sin of the rotary angles of a batch, [tokens, dims / 2], fp32.
struct Rotary {
  at::Tensor cos;
  at::Tensor sin;
};
// What the positions of a batch mean for queries and keys: the angles of each of the model's
// rotaries; a factor [tokens] fp32 of the queries, undefined where it is 1.
struct Positions {
  std::vector<Rotary> rotaries;
  at::Tensor query_factor;
  // The rotation of a block's queries and keys; null where it has none.
  const Rotary* of(const BlockDescription& block) const {
    return block.rotary < 0 ? nullptr : &rotaries[static_cast<std::size_t>(block.rotary)];
  }
};
Positions positions_of(const Model& model, const Batch& batch);

// x W^T + bias, and the low-rank adapter where there is one. `x` [tokens, in] in the compute dtype.
at::Tensor apply(const Linear& linear, const at::Tensor& x,
                 Operations operations = Operations::kAten);

// Root-mean-square norm over the last dimension, computed in fp32, rounded as `kind` says.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    kernels::NormKind kind);

// What the model multiplies its embeddings by, for a table of this dtype.
double embedding_scale(const ModelDescription& model, at::ScalarType table);

// ids [tokens] -> [tokens, hidden] in the compute dtype, scaled as the model does.
at::Tensor embed(const Model& model, const at::Tensor& ids);

// One decoder block, [tokens, hidden] -> [tokens, hidden]. `layer` is its number.
at::Tensor forward_block(const Model& model, std::int64_t layer, const at::Tensor& hidden,
                         const Positions& positions, Attention& attention,
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

// What the loss must know of the model's logits.
kernels::LogitRule logit_rule(const ModelDescription& model);

// What the model makes of the head's product: scaled, and capped where the family does that.
at::Tensor finished_logits(const ModelDescription& model, at::Tensor logits);

// The head on some rows: [rows, hidden] -> [rows, vocab], scaled and capped as the model does.
at::Tensor logits_of(const Model& model, const at::Tensor& hidden);

// Sum of the cross-entropy, natural logarithm, of `target_ids` [n] given the rows `target_rows` [n]
// of `hidden`; fp32 scalar. Only those rows' logits are computed. The model's `entropy_power`
// weighs the gradient alone.
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
