// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/feed_forward_branch.h"

#include <ATen/ATen.h>

#include "corda/kernels/glu.h"

namespace corda::train {

FeedForwardBranch::FeedForwardBranch(model::Block& block, const model::ModelDescription& model,
                                     const kernels::GemmPlans* plans, SiteScratch* weights)
    : shape_(model.feed_forward),
      gate_up_(linears_of(block.sites[model::kFeedForwardInput]), plans, weights),
      down_(linears_of(block.sites[model::kFeedForwardOutput]), plans, weights) {}

void FeedForwardBranch::again(const BatchContext& /*context*/, const at::Tensor& x,
                              BranchKept& kept, const BlockScratch& /*scratch*/) const {
  const std::int64_t tokens = x.size(0);
  gate_up_.forward(x, kept.buffers[kGateUp].rows(tokens).narrow(1, 0, gate_up_.out_features()),
                   kept.buffers[kGateUpBottom].rows(tokens));
}

void FeedForwardBranch::forward(const BatchContext& context, const at::Tensor& x,
                                const at::Tensor& out, const at::Tensor& added, double scale,
                                BranchKept& kept, const BlockScratch& scratch) const {
  again(context, x, kept, scratch);
  const std::int64_t tokens = x.size(0);
  const std::int64_t n = shape_.intermediate;
  const at::Tensor gated = scratch.rows(Scratch::kGated, tokens, n + down_.rank());
  const at::Tensor gate_up = kept.buffers[kGateUp].rows(tokens);
  kernels::glu(gated.narrow(1, 0, n), gate_up.narrow(1, 0, n), gate_up.narrow(1, n, n),
               shape_.activation);
  down_.forward(gated, out, kept.buffers[kDownBottom].rows(tokens), added, scale);
}

void FeedForwardBranch::backward(const BatchContext& context, const at::Tensor& grad, double scale,
                                 const at::Tensor& grad_x, BranchKept& kept,
                                 const BlockScratch& scratch) {
  const std::int64_t tokens = grad.size(0);
  const std::int64_t n = shape_.intermediate;
  const at::Tensor grad_gated = scratch.rows(Scratch::kGated, tokens, n);
  down_.backward(grad, kept.buffers[kDownBottom].rows(tokens), grad_gated, context.adds, scale);
  const at::Tensor gate_up = kept.buffers[kGateUp].rows(tokens);
  kernels::glu_backward(gate_up.narrow(1, 0, n), gate_up.narrow(1, n, n), grad_gated,
                        shape_.activation, /*keep_output=*/down_.trains_a());
  gate_up_.wait_for_gradients();  // of all before: those of the last block still read grad_x
  // By now grad_gated holds the input of down_proj.
  down_.backward_a(grad, grad_gated, context.adds, scale);
  down_.mark_gradients();
  gate_up_.backward(gate_up, kept.buffers[kGateUpBottom].rows(tokens), grad_x, context.adds);
}

void FeedForwardBranch::backward_a(const BatchContext& context, const at::Tensor& x,
                                   const BranchKept& kept) {
  gate_up_.backward_a(kept.buffers[kGateUp].rows(x.size(0)), x, context.adds);
}

}  // namespace corda::train
