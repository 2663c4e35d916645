// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/attention_branch.h"

#include <ATen/ATen.h>

#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"

namespace corda::train {

struct AttentionBranch::Heads {
  at::Tensor q, k, v;                 // [tokens, heads, head_dim]
  at::Tensor q_rows, k_rows, v_rows;  // the same as [tokens, features]
};

AttentionBranch::AttentionBranch(model::Block& block, const model::ModelDescription& model,
                                 std::int64_t layer, const kernels::GemmPlans* plans,
                                 SiteScratch* weights)
    : block_(block),
      model_(model),
      shape_(model.attention),
      described_(model.blocks[static_cast<std::size_t>(layer)]),
      rule_(model::attention_rule(model, layer)),
      qkv_(linears_of(block.sites[model::kAttentionInput]), plans, weights),
      output_(linears_of(block.sites[model::kAttentionOutput]), plans, weights) {}

AttentionBranch::Heads AttentionBranch::heads_of(const at::Tensor& qkv) const {
  const std::int64_t queries = shape_.query_features();
  const std::int64_t keys = shape_.key_features();
  const auto heads = [&](const at::Tensor& rows) {
    return rows.unflatten(1, {-1, shape_.head_dim});
  };
  Heads cut;
  cut.q_rows = qkv.narrow(1, 0, queries);
  cut.k_rows = qkv.narrow(1, queries, keys);
  cut.v_rows = qkv.narrow(1, queries + keys, keys);
  cut.q = heads(cut.q_rows);
  cut.k = heads(cut.k_rows);
  cut.v = heads(cut.v_rows);
  return cut;
}

kernels::RotaryShape AttentionBranch::rotary_shape() const {
  const auto& rope = model_.rotaries[static_cast<std::size_t>(described_.rotary)];
  return {shape_.head_dim, rope.interleaved};
}

AttentionBranch::Heads AttentionBranch::placed(const BatchContext& context, const at::Tensor& qkv,
                                               const BlockScratch& scratch) const {
  Heads heads = heads_of(qkv);
  at::Tensor rows = qkv;
  if (norms_heads()) {
    rows = scratch.rows(Scratch::kHeads, qkv.size(0), qkv_.out_features());
    Heads normed = heads_of(rows);
    kernels::group_norm(normed.q_rows, heads.q_rows, block_.query_norm, model_.norm_eps,
                        model_.norm);
    kernels::group_norm(normed.k_rows, heads.k_rows, block_.key_norm, model_.norm_eps, model_.norm);
    normed.v = heads.v;
    heads = normed;
  }
  if (const model::Rotary* rotary = context.positions->of(described_); rotary != nullptr)
    kernels::rotate(rows, shape_.heads + shape_.kv_heads, rotary->cos, rotary->sin, rotary_shape());
  scale_queries(context, heads.q);
  return heads;
}

void AttentionBranch::scale_queries(const BatchContext& context, const at::Tensor& q) const {
  const at::Tensor& factor = context.positions->query_factor;
  if (factor.defined()) q.mul_(factor.to(q.scalar_type()).view({-1, 1, 1}));
}

void AttentionBranch::forward(const BatchContext& context, const at::Tensor& x,
                              const at::Tensor& out, const at::Tensor& added, double scale,
                              BranchKept& kept, const BlockScratch& scratch) const {
  const std::int64_t tokens = x.size(0);
  const at::Tensor qkv = kept.buffers[kQkv].rows(tokens).narrow(1, 0, qkv_.out_features());
  qkv_.forward(x, qkv, kept.buffers[kQkvBottom].rows(tokens));
  const Heads heads = placed(context, qkv, scratch);
  kept.attention = model::attention_forward(*context.batch, rule_, heads.q, heads.k, heads.v);
  output_.forward(kept.attention.out.flatten(1), out, kept.buffers[kOutputBottom].rows(tokens),
                  added, scale);
}

void AttentionBranch::gather(const BatchContext& context,
                             const model::AttentionGradients& gradients,
                             const at::Tensor& rows) const {
  if (const model::Rotary* rotary = context.positions->of(described_); rotary != nullptr) {
    kernels::gather_rotated_back(rows, gradients.q, gradients.k, gradients.v, rotary->cos,
                                 rotary->sin, rotary_shape());
    return;
  }
  const Heads to = heads_of(rows);
  to.q.copy_(gradients.q);
  to.k.copy_(gradients.k);
  to.v.copy_(gradients.v);
}

void AttentionBranch::backward(const BatchContext& context, const at::Tensor& grad, double scale,
                               const at::Tensor& grad_x, BranchKept& kept,
                               const BlockScratch& scratch) {
  const std::int64_t tokens = grad.size(0);
  output_.wait_for_marked();  // the gradient of down_proj's A still reads the last columns of grad
  const at::Tensor grad_attended =
      scratch.rows(Scratch::kGradAttended, tokens, shape_.query_features());
  output_.backward(grad, kept.buffers[kOutputBottom].rows(tokens), grad_attended, context.adds,
                   scale);
  output_.backward_a(grad, kept.attention.out.flatten(1), context.adds, scale);

  const at::Tensor rows = kept.buffers[kQkv].rows(tokens);
  const at::Tensor qkv = rows.narrow(1, 0, qkv_.out_features());
  // Without norms of the heads, `qkv` holds the rotated queries and keys already.
  const Heads heads = norms_heads() ? placed(context, qkv, scratch) : heads_of(qkv);
  const model::AttentionGradients gradients = model::attention_backward(
      *context.batch, rule_, kept.attention, grad_attended.view_as(kept.attention.out), heads.q,
      heads.k, heads.v);
  scale_queries(context, gradients.q);
  if (norms_heads()) {
    const at::Tensor turned_back = scratch.rows(Scratch::kHeads, tokens, qkv_.out_features());
    gather(context, gradients, turned_back);
    const Heads from = heads_of(turned_back);
    const Heads to = heads_of(qkv);
    kernels::group_norm_backward(to.q_rows, from.q_rows, block_.query_norm, model_.norm_eps,
                                 model_.norm);
    kernels::group_norm_backward(to.k_rows, from.k_rows, block_.key_norm, model_.norm_eps,
                                 model_.norm);
    to.v_rows.copy_(from.v_rows);
  } else {
    gather(context, gradients, qkv);
  }
  qkv_.wait_for_gradients();  // of all before: those of the feed-forward still read grad_x
  qkv_.backward(rows, kept.buffers[kQkvBottom].rows(tokens), grad_x, context.adds);
}

void AttentionBranch::backward_a(const BatchContext& context, const at::Tensor& x,
                                 const BranchKept& kept) {
  qkv_.backward_a(kept.buffers[kQkv].rows(x.size(0)), x, context.adds);
}

}  // namespace corda::train
