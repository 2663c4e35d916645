// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/forward.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/kernels/glu.h"
#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"

namespace corda::model {

namespace {

// Rows of logits computed at once: bounds the largest temporary to about 256 MB in fp32.
constexpr std::int64_t kLogitElements = std::int64_t{1} << 26;

at::Tensor as(const at::Tensor& weight, at::ScalarType type) {
  return weight.scalar_type() == type ? weight : weight.to(type);
}

// PEFT's DoRA, f = m / ||W + s B A||: y = W x + (f - 1) W d(x) + f s B A d(x) + bias, d being
// dropout, so y = f (W + s B A) x + bias without it. `base` is W x, `dropped_base` W d(x), `update`
// B A d(x).
at::Tensor apply_dora(const Linear& linear, const at::Tensor& x, const at::Tensor& base,
                      const at::Tensor& dropped_base, const at::Tensor& update) {
  const LowRank& low_rank = *linear.low_rank;
  at::Tensor norm;
  {
    const at::NoGradGuard no_grad;
    norm = at::addmm(linear.weight.to(at::kFloat), low_rank.b, low_rank.a, 1, low_rank.scale)
               .norm(2, {1});
  }
  const at::Tensor factor = as(low_rank.magnitude / norm, x.scalar_type());
  const bool dropping = !dropped_base.is_same(base);
  const at::Tensor scaled = (dropped_base + update * low_rank.scale) * factor;
  const at::Tensor y = dropping ? base - dropped_base + scaled : scaled;
  return linear.bias.defined() ? y + as(linear.bias, x.scalar_type()) : y;
}

// Without gradients the fused kernels do the work; with them, ATen's differentiable operations.
bool can_fuse(const at::Tensor& x) {
  return !at::GradMode::is_enabled() && x.is_cuda() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// [tokens, heads, d], in place where that is allowed.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary) {
  if (can_fuse(x)) {
    kernels::rotate(x.flatten(1), x.size(1), rotary.cos.squeeze(1), rotary.sin.squeeze(1));
    return x;
  }
  const auto halves = x.to(at::kFloat).chunk(2, -1);
  return at::cat({halves[0] * rotary.cos - halves[1] * rotary.sin,
                  halves[1] * rotary.cos + halves[0] * rotary.sin},
                 -1)
      .to(x.scalar_type());
}

// activation(gate) * up.
at::Tensor gated_activation(const Block& block, const at::Tensor& z,
                            kernels::Activation activation) {
  if (!can_fuse(z)) return kernels::activate(apply(block.gate, z), activation) * apply(block.up, z);
  const at::Tensor gate = apply(block.gate, z);
  const at::Tensor up = apply(block.up, z);
  const at::Tensor out = at::empty_like(gate);
  kernels::glu(out, gate, up, activation);
  return out;
}

}  // namespace

Rotary rotary_of(const Model& model, const at::Tensor& positions) {
  const at::Tensor angles =
      positions.to(at::kFloat).unsqueeze(1) * model.inverse_frequencies.unsqueeze(0);
  return {angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)};
}

at::Tensor apply(const Linear& linear, const at::Tensor& x) {
  const at::ScalarType type = x.scalar_type();
  const at::Tensor weight = as(linear.weight, type);
  const at::Tensor bias = linear.bias.defined() ? as(linear.bias, type) : at::Tensor();
  if (!linear.low_rank)
    return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
  const LowRank& low_rank = *linear.low_rank;
  const bool dropping = low_rank.dropout > 0 && at::GradMode::is_enabled();
  const at::Tensor dropped = dropping ? at::dropout(x, low_rank.dropout, true) : x;
  const at::Tensor bottom = at::mm(dropped, as(low_rank.a, type).t());
  const at::Tensor b = as(low_rank.b, type);
  if (low_rank.magnitude.defined()) {
    const at::Tensor plain = at::mm(x, weight.t());
    return apply_dora(linear, x, plain, dropping ? at::mm(dropped, weight.t()) : plain,
                      at::mm(bottom, b.t()));
  }
  const at::Tensor base = bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
  return at::addmm(base, bottom, b.t(), 1, low_rank.scale);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (can_fuse(x) && weight.scalar_type() == x.scalar_type() && x.dim() == 2) {
    const at::Tensor out = at::empty_like(x);
    kernels::rms_norm(out, at::empty({x.size(0)}, x.options().dtype(at::kFloat)), x, weight, eps);
    return out;
  }
  // One kernel on the GPU; it wants one dtype.
  if (weight.scalar_type() == x.scalar_type()) return at::rms_norm(x, weight.sizes(), weight, eps);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor normed = wide * at::rsqrt(wide.square().mean({-1}, /*keepdim=*/true) + eps);
  return as(weight, x.scalar_type()) * normed.to(x.scalar_type());
}

at::Tensor embed(const Model& model, const at::Tensor& ids) {
  return as(at::embedding(model.embedding, ids), model.compute);
}

at::Tensor forward_block(const Model& model, std::int64_t layer, const at::Tensor& hidden,
                         const Rotary& rotary, Attention& attention, const SiteObserver& observe) {
  const Block& block = model.blocks[static_cast<std::size_t>(layer)];
  const ModelConfig& config = model.config;
  const auto seen = [&](const char* site, const at::Tensor& x) {
    if (observe) observe(block.name + site, x);
  };
  const at::Tensor x = rms_norm(hidden, block.attention_norm, config.rms_norm_eps);
  seen(".self_attn.input", x);
  const auto split = [&](const at::Tensor& y) { return y.view({y.size(0), -1, config.head_dim}); };
  const at::Tensor q = rotate(split(apply(block.q, x)), rotary);
  const at::Tensor k = rotate(split(apply(block.k, x)), rotary);
  const at::Tensor attended = attention.attend(layer, q, k, split(apply(block.v, x))).flatten(1);
  seen(".self_attn.o_proj.input", attended);
  const at::Tensor middle = hidden + apply(block.o, attended);

  const at::Tensor z = rms_norm(middle, block.mlp_norm, config.rms_norm_eps);
  seen(".mlp.input", z);
  const at::Tensor gated = gated_activation(block, z, config.activation);
  seen(".mlp.down_proj.input", gated);
  return middle + apply(block.down, gated);
}

at::Tensor forward_hidden(const Model& model, const Batch& batch, Attention& attention,
                          const SiteObserver& observe) {
  const Rotary rotary = rotary_of(model, batch.positions);
  at::Tensor hidden = embed(model, batch.ids);
  for (std::int64_t layer = 0; layer < model.config.num_layers; ++layer) {
    hidden = forward_block(model, layer, hidden, rotary, attention, observe);
  }
  return rms_norm(hidden, model.final_norm, model.config.rms_norm_eps);
}

at::Tensor logits_of(const Model& model, const at::Tensor& hidden) {
  return at::mm(hidden, as(model.head_weight(), hidden.scalar_type()).t());
}

at::Tensor cross_entropy_sum(const Model& model, const at::Tensor& hidden,
                             const at::Tensor& target_rows, const at::Tensor& target_ids) {
  const std::int64_t count = target_ids.size(0);
  const std::int64_t chunk = std::max<std::int64_t>(1, kLogitElements / model.config.vocab_size);
  at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kFloat));
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    const std::int64_t end = std::min(count, begin + chunk);
    const at::Tensor logits =
        logits_of(model, hidden.index_select(0, target_rows.slice(0, begin, end))).to(at::kFloat);
    sum = sum +
          at::cross_entropy_loss(logits, target_ids.slice(0, begin, end), {}, at::Reduction::Sum);
  }
  return sum;
}

at::Tensor loss_sum(const Model& model, const Batch& batch) {
  PackedAttention attention(batch);
  return cross_entropy_sum(model, forward_hidden(model, batch, attention), batch.target_rows,
                           batch.target_ids);
}

}  // namespace corda::model
