// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_block.h"

#include <ATen/ATen.h>

#include "corda/kernels/rms_norm.h"
#include "train/attention_branch.h"
#include "train/feed_forward_branch.h"

namespace corda::train {

BlockKept make_kept(const BlockPlan& plan, at::TensorOptions options, std::int64_t tokens) {
  BlockKept kept;
  kept.attention.buffers = make_buffers(plan.attention, options, tokens);
  kept.feed_forward.buffers = make_buffers(plan.feed_forward, options, tokens);
  kept.attention_norms = make_buffers(plan.attention_norms, options, tokens);
  kept.feed_forward_norms = make_buffers(plan.feed_forward_norms, options, tokens);
  kept.middle = make_buffers({plan.middle}, options, tokens).front();
  return kept;
}

void BlockKept::share(const BlockKept& other, const BlockPlan& plan, Recompute recompute) {
  share_buffers(attention.buffers, other.attention.buffers, plan.attention, recompute);
  share_buffers(feed_forward.buffers, other.feed_forward.buffers, plan.feed_forward, recompute);
  share_buffers(attention_norms, other.attention_norms, plan.attention_norms, recompute);
  share_buffers(feed_forward_norms, other.feed_forward_norms, plan.feed_forward_norms, recompute);
  if (plan.middle.is_shared(recompute)) middle = middle.in_memory_of(other.middle);
}

void BlockKept::reserve(std::int64_t tokens, const BlockPlan& plan) const {
  const auto take = [&](const std::vector<RowBuffer>& buffers, const BufferPlans& plans) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      if (plans[i].is_ours) buffers[i].rows(tokens);
    }
  };
  take(attention.buffers, plan.attention);
  take(feed_forward.buffers, plan.feed_forward);
  take(attention_norms, plan.attention_norms);
  take(feed_forward_norms, plan.feed_forward_norms);
  middle.rows(tokens);
}

LowRankBlock::LowRankBlock(model::Block& block, const model::ModelDescription& model,
                           std::int64_t layer, const kernels::GemmPlans* plans,
                           SiteScratch* weights)
    : block_(block),
      model_(model),
      attention_(std::make_unique<AttentionBranch>(block, model, layer, plans, weights)),
      feed_forward_(std::make_unique<FeedForwardBranch>(block, model, plans, weights)) {}

LowRankBlock::Half LowRankBlock::attention_half() const {
  return {*attention_, block_.norm_before_attention, block_.norm_after_attention};
}

LowRankBlock::Half LowRankBlock::feed_forward_half() const {
  return {*feed_forward_, block_.norm_before_feed_forward, block_.norm_after_feed_forward};
}

void LowRankBlock::add_refresh(kernels::WindowCopies& copies) const {
  for (Branch* branch : {attention_.get(), feed_forward_.get()}) {
    branch->input().add_refresh(copies);
    branch->output().add_refresh(copies);
  }
}

void LowRankBlock::begin_step() {
  for (Branch* branch : {attention_.get(), feed_forward_.get()}) {
    branch->input().begin_step();
    branch->output().begin_step();
  }
}

std::int64_t LowRankBlock::gradient_elements() const {
  std::int64_t elements = 0;
  for (Branch* branch : {attention_.get(), feed_forward_.get()})
    elements += branch->input().gradient_elements() + branch->output().gradient_elements();
  return elements;
}

void LowRankBlock::place_gradients(const at::Tensor& flat) {
  std::int64_t begin = 0;
  for (Branch* branch : {attention_.get(), feed_forward_.get()}) {
    for (LowRankSite* site : {&branch->input(), &branch->output()}) {
      site->place_gradients(flat.narrow(0, begin, site->gradient_elements()));
      begin += site->gradient_elements();
    }
  }
}

at::Tensor LowRankBlock::branch_input(const Half& half, const at::Tensor& in,
                                      const std::vector<RowBuffer>& norms,
                                      const BlockScratch& scratch) const {
  const std::int64_t tokens = in.size(0);
  const std::int64_t hidden = model_.hidden_size;
  const at::Tensor x = scratch.rows(Scratch::kNormed, tokens, hidden + half.branch.input().rank());
  const at::Tensor features = x.narrow(1, 0, hidden);
  if (half.norm_before.defined()) {
    kernels::rms_norm(features, norms[kInvRmsBefore].rows(tokens), in, half.norm_before,
                      model_.norm_eps, model_.norm);
  } else {
    features.copy_(in);  // to stand beside h
  }
  return x;
}

void LowRankBlock::forward_half(const Half& half, const BatchContext& context, const at::Tensor& in,
                                const at::Tensor& out, BranchKept& kept,
                                const std::vector<RowBuffer>& norms,
                                const BlockScratch& scratch) const {
  const at::Tensor x = branch_input(half, in, norms, scratch);
  const double scale = model_.residual_scale;
  if (!half.norm_after.defined())
    return half.branch.forward(context, x, out, in, scale, kept, scratch);
  const std::int64_t tokens = in.size(0);
  const at::Tensor result = norms[kBranchOut].rows(tokens);
  half.branch.forward(context, x, result, {}, 1, kept, scratch);
  const at::Tensor normed = scratch.rows(Scratch::kBranch, tokens, model_.hidden_size);
  kernels::rms_norm(normed, norms[kInvRmsAfter].rows(tokens), result, half.norm_after,
                    model_.norm_eps, model_.norm);
  at::Tensor target = out;
  at::add_out(target, in, normed, scale);
}

void LowRankBlock::forward_attention(const BatchContext& context, const at::Tensor& in,
                                     BlockKept& kept, const BlockScratch& scratch) const {
  forward_half(attention_half(), context, in, kept.middle.rows(in.size(0)), kept.attention,
               kept.attention_norms, scratch);
}

void LowRankBlock::forward_feed_forward(const BatchContext& context, const at::Tensor& out,
                                        BlockKept& kept, const BlockScratch& scratch) const {
  forward_half(feed_forward_half(), context, kept.middle.rows(out.size(0)), out, kept.feed_forward,
               kept.feed_forward_norms, scratch);
}

void LowRankBlock::again(const BatchContext& context, const at::Tensor& in, Recompute recompute,
                         BlockKept& kept, const BlockScratch& scratch) const {
  if (recompute == Recompute::kNone) return;
  if (recompute == Recompute::kBlock) forward_attention(context, in, kept, scratch);
  const Half half = feed_forward_half();
  const std::int64_t tokens = in.size(0);
  const at::Tensor x =
      branch_input(half, kept.middle.rows(tokens), kept.feed_forward_norms, scratch);
  if (recompute == Recompute::kBlock && half.norm_after.defined()) {
    // The backward of that norm wants its input and 1 / rms.
    const at::Tensor result = kept.feed_forward_norms[kBranchOut].rows(tokens);
    half.branch.forward(context, x, result, {}, 1, kept.feed_forward, scratch);
    kernels::rms_norm(scratch.rows(Scratch::kBranch, tokens, model_.hidden_size),
                      kept.feed_forward_norms[kInvRmsAfter].rows(tokens), result, half.norm_after,
                      model_.norm_eps, model_.norm);
  } else {
    half.branch.again(context, x, kept.feed_forward, scratch);
  }
}

at::Tensor LowRankBlock::branch_gradient(const Half& half, std::int64_t tokens,
                                         const std::vector<RowBuffer>& norms,
                                         const BlockScratch& scratch) const {
  const std::int64_t hidden = model_.hidden_size;
  const std::int64_t columns = hidden + half.branch.output().rank();
  const at::Tensor residual = scratch.rows(Scratch::kResidual, tokens, columns);
  if (!half.norm_after.defined()) return residual;
  const at::Tensor gradient = scratch.rows(Scratch::kBranch, tokens, columns);
  const at::Tensor features = gradient.narrow(1, 0, hidden);
  features.zero_();
  kernels::rms_norm_backward(residual.narrow(1, 0, hidden), features,
                             norms[kBranchOut].rows(tokens), norms[kInvRmsAfter].rows(tokens),
                             half.norm_after,
                             /*keep_output=*/false, model_.norm);
  return gradient;
}

void LowRankBlock::backward_half(const Half& half, const BatchContext& context,
                                 const at::Tensor& in, BranchKept& kept,
                                 const std::vector<RowBuffer>& norms, const BlockScratch& scratch,
                                 bool input_needed) {
  const std::int64_t tokens = in.size(0);
  const std::int64_t hidden = model_.hidden_size;
  const at::Tensor grad = branch_gradient(half, tokens, norms, scratch);
  const at::Tensor grad_x = scratch.rows(Scratch::kGradNormed, tokens, hidden);
  half.branch.backward(context, grad, model_.residual_scale, input_needed ? grad_x : at::Tensor(),
                       kept, scratch);
  const at::Tensor residual = scratch.rows(Scratch::kResidual, tokens, hidden);
  const bool wants_x = half.branch.input().trains_a();
  at::Tensor x = in;
  if (half.norm_before.defined()) {
    const at::Tensor inverse = norms[kInvRmsBefore].rows(tokens);
    if (input_needed) {
      kernels::rms_norm_backward(grad_x, residual, in, inverse, half.norm_before, wants_x,
                                 model_.norm);
    } else if (wants_x) {
      kernels::rms_norm(grad_x, inverse, in, half.norm_before, model_.norm_eps, model_.norm);
    }
    x = grad_x;  // which holds the norm's output by now, where it is wanted
  } else if (input_needed) {
    residual.add_(grad_x);
  }
  half.branch.backward_a(context, x, kept);
}

void LowRankBlock::backward(const BatchContext& context, const at::Tensor& in, BlockKept& kept,
                            const BlockScratch& scratch, bool input_needed) {
  const bool attention_needed = input_needed || is_adapted(*attention_);
  backward_half(feed_forward_half(), context, kept.middle.rows(in.size(0)), kept.feed_forward,
                kept.feed_forward_norms, scratch, attention_needed);
  if (attention_needed) {
    backward_half(attention_half(), context, in, kept.attention, kept.attention_norms, scratch,
                  input_needed);
  }
  kept.attention.attention = {};
}

}  // namespace corda::train
