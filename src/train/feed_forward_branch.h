// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A gated feed-forward as a branch of a block: down(activation(gate(x)) * up(x)).
#pragma once

#include "train/branch.h"

namespace corda::train {

class FeedForwardBranch final : public Branch {
 public:
  // Both must outlive the branch.
  FeedForwardBranch(model::Block& block, const model::ModelDescription& model,
                    const kernels::GemmPlans* plans, SiteScratch* weights = nullptr);

  LowRankSite& input() override { return gate_up_; }
  LowRankSite& output() override { return down_; }
  void forward(const BatchContext& context, const at::Tensor& x, const at::Tensor& out,
               const at::Tensor& added, double scale, BranchKept& kept,
               const BlockScratch& scratch) const override;
  void again(const BatchContext& context, const at::Tensor& x, BranchKept& kept,
             const BlockScratch& scratch) const override;
  void backward(const BatchContext& context, const at::Tensor& grad, double scale,
                const at::Tensor& grad_x, BranchKept& kept, const BlockScratch& scratch) override;
  void backward_a(const BatchContext& context, const at::Tensor& x,
                  const BranchKept& kept) override;

 private:
  const model::FeedForwardDescription& shape_;
  LowRankSite gate_up_;
  LowRankSite down_;
};

}  // namespace corda::train
