// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_block.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/kernels/glu.h"
#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"

namespace corda::train {

void BlockActivations::share(const BlockActivations& other, Recompute recompute) {
  if (recompute == Recompute::kNone) return;
  gate_up = gate_up.in_memory_of(other.gate_up);
  gate_up_bottom = gate_up_bottom.in_memory_of(other.gate_up_bottom);
  inv_rms_middle = inv_rms_middle.in_memory_of(other.inv_rms_middle);
  if (recompute == Recompute::kSelective) return;
  qkv = qkv.in_memory_of(other.qkv);
  middle = middle.in_memory_of(other.middle);
  qkv_bottom = qkv_bottom.in_memory_of(other.qkv_bottom);
  o_bottom = o_bottom.in_memory_of(other.o_bottom);
  inv_rms_in = inv_rms_in.in_memory_of(other.inv_rms_in);
}

void BlockActivations::reserve(std::int64_t tokens) const {
  for (const RowBuffer* buffer : {&qkv, &gate_up, &middle, &qkv_bottom, &o_bottom, &gate_up_bottom,
                                  &down_bottom, &inv_rms_in, &inv_rms_middle})
    buffer->rows(tokens);
}

WorkspaceColumns widest(const WorkspaceColumns& a, const WorkspaceColumns& b) {
  return {.normed = std::max(a.normed, b.normed),
          .gated = std::max(a.gated, b.gated),
          .residual = std::max(a.residual, b.residual),
          .hidden = std::max(a.hidden, b.hidden),
          .attended = std::max(a.attended, b.attended)};
}

BlockWorkspace::BlockWorkspace(const WorkspaceColumns& columns, at::TensorOptions options,
                               std::int64_t tokens)
    : normed(columns.normed, options, tokens),
      gated(columns.gated, options, tokens),
      residual(columns.residual, options, tokens),
      grad_normed(columns.hidden, options, tokens),
      grad_attended(columns.attended, options, tokens) {}

// Views of the rows [q | k | v | ...], each [tokens, its heads, d].
struct LowRankBlock::Heads {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

LowRankBlock::Heads LowRankBlock::heads_of(const at::Tensor& qkv) const {
  const std::int64_t d = config_.head_dim;
  const auto cut = [&](std::int64_t first, std::int64_t count) {
    return qkv.narrow(1, first * d, count * d).unflatten(1, {count, d});
  };
  return {cut(0, config_.num_heads), cut(config_.num_heads, config_.num_kv_heads),
          cut(config_.num_heads + config_.num_kv_heads, config_.num_kv_heads)};
}

namespace {

template <typename Linear, typename Block>
std::array<std::vector<Linear*>, 4> projections_by_input(Block& block) {
  return {{{&block.q, &block.k, &block.v}, {&block.o}, {&block.gate, &block.up}, {&block.down}}};
}

}  // namespace

std::array<std::vector<model::Linear*>, 4> sites_of(model::Block& block) {
  return projections_by_input<model::Linear>(block);
}

std::array<std::vector<const model::Linear*>, 4> sites_of(const model::Block& block) {
  return projections_by_input<const model::Linear>(block);
}

LowRankBlock::LowRankBlock(model::Block& block, const model::ModelConfig& config,
                           const kernels::GemmPlans* plans)
    : block_(block),
      config_(config),
      qkv_(sites_of(block)[0], plans),
      o_(sites_of(block)[1], plans),
      gate_up_(sites_of(block)[2], plans),
      down_(sites_of(block)[3], plans) {}

void LowRankBlock::add_refresh(kernels::WindowCopies& copies) const {
  for (const LowRankSite* site : {&qkv_, &o_, &gate_up_, &down_}) site->add_refresh(copies);
}

void LowRankBlock::begin_step() {
  for (LowRankSite* site : {&qkv_, &o_, &gate_up_, &down_}) site->begin_step();
}

BlockActivations LowRankBlock::make_activations(at::TensorOptions options,
                                                std::int64_t tokens) const {
  const at::TensorOptions fp32 = options.dtype(at::kFloat);
  const auto with_rank = [&](const LowRankSite& site) {
    return RowBuffer(site.out_features() + site.rank(), options, tokens);
  };
  const auto bottom = [&](const LowRankSite& site) {
    // One column at least: no columns would mean a vector.
    return RowBuffer(std::max<std::int64_t>(site.rank(), 1), options, tokens);
  };
  return {.qkv = with_rank(qkv_),
          .gate_up = with_rank(gate_up_),
          .middle = RowBuffer(config_.hidden_size, options, tokens),
          .qkv_bottom = bottom(qkv_),
          .o_bottom = bottom(o_),
          .gate_up_bottom = bottom(gate_up_),
          .down_bottom = bottom(down_),
          .inv_rms_in = RowBuffer(0, fp32, tokens),
          .inv_rms_middle = RowBuffer(0, fp32, tokens),
          .attention = {}};
}

WorkspaceColumns LowRankBlock::workspace_columns() const {
  const std::int64_t hidden = config_.hidden_size;
  return {.normed = hidden + std::max(qkv_.rank(), gate_up_.rank()),
          .gated = down_.in_features() + down_.rank(),
          .residual = hidden + std::max(o_.rank(), down_.rank()),
          .hidden = hidden,
          .attended = o_.in_features()};
}

void LowRankBlock::forward_attention(const BatchContext& context, const at::Tensor& in,
                                     BlockActivations& kept, BlockWorkspace& workspace) const {
  const std::int64_t tokens = in.size(0);
  const at::Tensor x = workspace.normed.rows(tokens).narrow(1, 0, qkv_.in_features() + qkv_.rank());
  kernels::rms_norm(x.narrow(1, 0, in.size(1)), kept.inv_rms_in.rows(tokens), in,
                    block_.attention_norm, config_.rms_norm_eps);
  const at::Tensor qkv = kept.qkv.rows(tokens).narrow(1, 0, qkv_.out_features());
  qkv_.forward(x, qkv, kept.qkv_bottom.rows(tokens));
  kernels::rotate(qkv, config_.num_heads + config_.num_kv_heads, context.cos, context.sin);
  const Heads heads = heads_of(qkv);
  kept.attention = model::attention_forward(*context.batch, heads.q, heads.k, heads.v);
  o_.forward_add_apart(kept.attention.out.flatten(1), kept.middle.rows(tokens),
                       kept.o_bottom.rows(tokens), in);
}

void LowRankBlock::forward_gate_up(std::int64_t tokens, BlockActivations& kept,
                                   BlockWorkspace& workspace) const {
  const std::int64_t hidden = gate_up_.in_features();
  const at::Tensor z = workspace.normed.rows(tokens).narrow(1, 0, hidden + gate_up_.rank());
  kernels::rms_norm(z.narrow(1, 0, hidden), kept.inv_rms_middle.rows(tokens),
                    kept.middle.rows(tokens), block_.mlp_norm, config_.rms_norm_eps);
  gate_up_.forward(z, kept.gate_up.rows(tokens).narrow(1, 0, gate_up_.out_features()),
                   kept.gate_up_bottom.rows(tokens));
}

void LowRankBlock::forward_down(const at::Tensor& out, BlockActivations& kept,
                                BlockWorkspace& workspace) const {
  const std::int64_t tokens = out.size(0);
  const at::Tensor gated =
      workspace.gated.rows(tokens).narrow(1, 0, down_.in_features() + down_.rank());
  const std::int64_t n = down_.in_features();
  const at::Tensor gate_up = kept.gate_up.rows(tokens);
  kernels::glu(gated.narrow(1, 0, n), gate_up.narrow(1, 0, n), gate_up.narrow(1, n, n),
               config_.activation);
  down_.forward_add(gated, out, kept.down_bottom.rows(tokens), kept.middle.rows(tokens));
}

void LowRankBlock::backward_mlp(const BatchContext& context, std::int64_t tokens,
                                BlockActivations& kept, BlockWorkspace& workspace,
                                bool input_needed) {
  const std::int64_t hidden = gate_up_.in_features();
  const at::Tensor residual = workspace.residual.rows(tokens);
  const at::Tensor grad_out = residual.narrow(1, 0, hidden + down_.rank());
  const at::Tensor grad_gated = workspace.gated.rows(tokens).narrow(1, 0, down_.in_features());
  down_.backward(grad_out, kept.down_bottom.rows(tokens), grad_gated, context.adds);
  const at::Tensor gate_up = kept.gate_up.rows(tokens);
  const std::int64_t n = down_.in_features();
  kernels::glu_backward(gate_up.narrow(1, 0, n), gate_up.narrow(1, n, n), grad_gated,
                        config_.activation, /*keep_output=*/down_.trains_a());
  // grad_gated is the down projection's input by now.
  down_.backward_a(grad_out, grad_gated, context.adds);

  const at::Tensor grad_normed = workspace.grad_normed.rows(tokens);
  gate_up_.backward(gate_up, kept.gate_up_bottom.rows(tokens),
                    input_needed ? grad_normed : at::Tensor(), context.adds);
  if (input_needed) {
    kernels::rms_norm_backward(grad_normed, residual.narrow(1, 0, hidden), kept.middle.rows(tokens),
                               kept.inv_rms_middle.rows(tokens), block_.mlp_norm,
                               gate_up_.trains_a());
  } else if (gate_up_.trains_a()) {
    kernels::rms_norm(grad_normed, kept.inv_rms_middle.rows(tokens), kept.middle.rows(tokens),
                      block_.mlp_norm, config_.rms_norm_eps);
  }
  gate_up_.backward_a(gate_up, grad_normed, context.adds);
}

void LowRankBlock::backward_attention(const BatchContext& context, const at::Tensor& in,
                                      BlockActivations& kept, BlockWorkspace& workspace,
                                      bool input_needed) {
  const std::int64_t tokens = in.size(0);
  const std::int64_t hidden = in.size(1);
  const at::Tensor residual = workspace.residual.rows(tokens);
  const at::Tensor grad_middle = residual.narrow(1, 0, hidden + o_.rank());
  const at::Tensor grad_attended = workspace.grad_attended.rows(tokens);
  o_.backward(grad_middle, kept.o_bottom.rows(tokens), grad_attended, context.adds);
  o_.backward_a(grad_middle, kept.attention.out.flatten(1), context.adds);

  const at::Tensor qkv = kept.qkv.rows(tokens);
  const Heads heads = heads_of(qkv);
  const model::AttentionGradients grads = model::attention_backward(
      *context.batch, kept.attention, grad_attended.view_as(kept.attention.out), heads.q, heads.k,
      heads.v);
  kernels::gather_rotated_back(qkv.narrow(1, 0, qkv_.out_features()), grads.q, grads.k, grads.v,
                               context.cos, context.sin);
  const at::Tensor grad_normed = workspace.grad_normed.rows(tokens);
  qkv_.backward(qkv, kept.qkv_bottom.rows(tokens), input_needed ? grad_normed : at::Tensor(),
                context.adds);
  if (input_needed) {
    kernels::rms_norm_backward(grad_normed, residual.narrow(1, 0, hidden), in,
                               kept.inv_rms_in.rows(tokens), block_.attention_norm,
                               qkv_.trains_a());
  } else if (qkv_.trains_a()) {
    kernels::rms_norm(grad_normed, kept.inv_rms_in.rows(tokens), in, block_.attention_norm,
                      config_.rms_norm_eps);
  }
  qkv_.backward_a(qkv, grad_normed, context.adds);
}

void LowRankBlock::backward(const BatchContext& context, const at::Tensor& in,
                            BlockActivations& kept, BlockWorkspace& workspace, bool input_needed) {
  const bool attention_needed = input_needed || adapts_attention();
  backward_mlp(context, in.size(0), kept, workspace, attention_needed);
  if (attention_needed) backward_attention(context, in, kept, workspace, input_needed);
  kept.attention = {};
}

}  // namespace corda::train
