// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Attention as a branch of a block: q, k, v, norms of the heads, rotation, scores, o_proj.
#pragma once

#include "corda/kernels/rotary.h"
#include "train/branch.h"

namespace corda::train {

class AttentionBranch final : public Branch {
 public:
  // `block` is number `layer` of the model; both must outlive the branch.
  AttentionBranch(model::Block& block, const model::ModelDescription& model, std::int64_t layer,
                  const kernels::GemmPlans* plans, SiteScratch* weights = nullptr);

  LowRankSite& input() override { return qkv_; }
  LowRankSite& output() override { return output_; }
  void forward(const BatchContext& context, const at::Tensor& x, const at::Tensor& out,
               const at::Tensor& added, double scale, BranchKept& kept,
               const BlockScratch& scratch) const override;
  // All of an attention is kept or none of it.
  void again(const BatchContext&, const at::Tensor&, BranchKept&,
             const BlockScratch&) const override {}
  void backward(const BatchContext& context, const at::Tensor& grad, double scale,
                const at::Tensor& grad_x, BranchKept& kept, const BlockScratch& scratch) override;
  void backward_a(const BatchContext& context, const at::Tensor& x,
                  const BranchKept& kept) override;

 private:
  // Views of rows [q | k | v]: as features, and as heads [tokens, heads, head_dim].
  struct Heads;
  Heads heads_of(const at::Tensor& qkv) const;
  // Queries and keys of the projected rows `qkv`, after norms and rotation: in place without norms
  // of the heads, else in the scratch. Values are those of `qkv`.
  Heads placed(const BatchContext& context, const at::Tensor& qkv,
               const BlockScratch& scratch) const;
  // Multiplies queries, or their gradients, by the factor of their positions.
  void scale_queries(const BatchContext& context, const at::Tensor& q) const;
  bool norms_heads() const { return block_.query_norm.defined(); }
  kernels::RotaryShape rotary_shape() const;
  // The gradients of queries, keys and values, turned back, side by side in `rows`.
  void gather(const BatchContext& context, const model::AttentionGradients& gradients,
              const at::Tensor& rows) const;

  const model::Block& block_;
  const model::ModelDescription& model_;
  const model::AttentionDescription& shape_;
  const model::BlockDescription& described_;
  model::AttentionRule rule_;
  LowRankSite qkv_;
  LowRankSite output_;
};

}  // namespace corda::train
