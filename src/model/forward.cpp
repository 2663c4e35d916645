// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/forward.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/embedding.h"
#include "corda/kernels/glu.h"
#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"
#include "corda/kernels/scale_columns.h"
#include "model/nodes.h"

namespace corda::model {

namespace {

at::Tensor as(const at::Tensor& weight, at::ScalarType type) {
  return weight.scalar_type() == type ? weight : weight.to(type);
}

// Without gradients the fused kernels do the work on a GPU, whatever the operations.
bool can_fuse(at::Device device, at::ScalarType type) {
  return !at::GradMode::is_enabled() && device.is_cuda() &&
         (type == at::kFloat || type == at::kBFloat16);
}
bool can_fuse(const at::Tensor& x) { return can_fuse(x.device(), x.scalar_type()); }

bool with_nodes(Operations operations) {
  return operations == Operations::kKernels && at::GradMode::is_enabled();
}

// y times the factor of its columns, rounded once.
at::Tensor scaled_columns(const at::Tensor& y, const at::Tensor& factor, Operations operations) {
  if (with_nodes(operations)) return scale_columns_node(y, factor);
  if (!can_fuse(y)) return as(y * factor, y.scalar_type());
  const at::Tensor out = at::empty_like(y);
  kernels::scale_columns(out, y, factor);
  return out;
}

// PEFT's DoRA, f = m / ||W + s B A||: y = W x + (f - 1) W d(x) + f s B A d(x) + bias, d being
// dropout, so y = f (W + s B A) x + bias without it. `base` is W x, `dropped_base` W d(x), `bottom`
// A d(x).
at::Tensor apply_dora(const Linear& linear, const at::Tensor& base, const at::Tensor& dropped_base,
                      const at::Tensor& bottom, Operations operations) {
  const LowRank& low_rank = *linear.low_rank;
  at::Tensor norms;
  {
    const at::NoGradGuard no_grad;
    norms = with_nodes(operations) || can_fuse(base)
                ? adapted_row_norms(linear.weight, low_rank)
                : at::addmm(linear.weight.to(at::kFloat), low_rank.b, low_rank.a, 1, low_rank.scale)
                      .norm(2, {1});
    // A row of zeros keeps the factor 0, as in merging, and its magnitude a gradient of 0.
    norms.masked_fill_(norms == 0, std::numeric_limits<float>::infinity());
  }
  const at::Tensor factor = low_rank.magnitude / norms;
  const at::Tensor b = as(low_rank.b, base.scalar_type()).t();
  at::Tensor y;
  if (dropped_base.is_same(base)) {
    y = scaled_columns(at::addmm(base, bottom, b, 1, low_rank.scale), factor, operations);
  } else {
    y = base + (scaled_columns(dropped_base, factor - 1, operations) +
                scaled_columns(at::mm(bottom, b), factor * low_rank.scale, operations));
  }
  return linear.bias.defined() ? y + as(linear.bias, base.scalar_type()) : y;
}

// x W^T + bias, the bias perhaps undefined.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                   Operations operations) {
  if (with_nodes(operations) && weight.requires_grad() && weight.scalar_type() != x.scalar_type()) {
    const at::Tensor y = master_product_node(x, weight);
    return bias.defined() ? y + bias : y;
  }
  const at::Tensor rounded = as(weight, x.scalar_type()).t();
  return bias.defined() ? at::addmm(bias, x, rounded) : at::mm(x, rounded);
}

// x [tokens, heads * d] -> [tokens, heads, d], rotated, in place where that is allowed.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary, Operations operations) {
  const std::int64_t half = rotary.cos.size(2);
  const at::Tensor heads = x.view({x.size(0), -1, 2 * half});
  if (can_fuse(x)) {
    kernels::rotate(x, heads.size(1), rotary.cos.squeeze(1), rotary.sin.squeeze(1));
    return heads;
  }
  if (with_nodes(operations)) return rotate_node(x, rotary).view(heads.sizes());
  const auto halves = heads.to(at::kFloat).chunk(2, -1);
  return at::cat({halves[0] * rotary.cos - halves[1] * rotary.sin,
                  halves[1] * rotary.cos + halves[0] * rotary.sin},
                 -1)
      .to(x.scalar_type());
}

// activation(gate) * up.
at::Tensor gated_activation(const Block& block, const at::Tensor& z, kernels::Activation activation,
                            Operations operations) {
  const at::Tensor gate = apply(block.gate, z, operations);
  const at::Tensor up = apply(block.up, z, operations);
  if (can_fuse(z)) {
    const at::Tensor out = at::empty_like(gate);
    kernels::glu(out, gate, up, activation);
    return out;
  }
  if (with_nodes(operations)) return glu_node(gate, up, activation);
  return kernels::activate(gate, activation) * up;
}

}  // namespace

Rotary rotary_of(const Model& model, const at::Tensor& positions) {
  const at::Tensor angles =
      positions.to(at::kFloat).unsqueeze(1) * model.inverse_frequencies.unsqueeze(0);
  return {angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)};
}

at::Tensor apply(const Linear& linear, const at::Tensor& x, Operations operations) {
  const at::ScalarType type = x.scalar_type();
  const at::Tensor bias = linear.bias.defined() ? as(linear.bias, type) : at::Tensor();
  if (!linear.low_rank) return product(x, linear.weight, bias, operations);
  const LowRank& low_rank = *linear.low_rank;
  const bool dropping = low_rank.dropout > 0 && at::GradMode::is_enabled();
  const at::Tensor dropped = dropping ? at::dropout(x, low_rank.dropout, true) : x;
  const at::Tensor bottom = at::mm(dropped, as(low_rank.a, type).t());
  if (low_rank.magnitude.defined()) {
    const at::Tensor plain = product(x, linear.weight, {}, operations);
    return apply_dora(linear, plain,
                      dropping ? product(dropped, linear.weight, {}, operations) : plain, bottom,
                      operations);
  }
  return at::addmm(product(x, linear.weight, bias, operations), bottom, as(low_rank.b, type).t(), 1,
                   low_rank.scale);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (can_fuse(x) && weight.scalar_type() == x.scalar_type() && x.dim() == 2) {
    const at::Tensor out = at::empty_like(x);
    kernels::rms_norm(out, at::empty({x.size(0)}, x.options().dtype(at::kFloat)), x, weight, eps);
    return out;
  }
  return at::rms_norm(x, weight.sizes(), as(weight, x.scalar_type()), eps);
}

at::Tensor embed(const Model& model, const at::Tensor& ids) {
  const at::ScalarType type = model.embedding.scalar_type();
  if (!can_fuse(model.device(), model.compute) || (type != at::kFloat && type != model.compute))
    return as(at::embedding(model.embedding, ids), model.compute);
  const at::Tensor out = at::empty({ids.size(0), model.config.hidden_size},
                                   model.embedding.options().dtype(model.compute));
  kernels::embedding(out, model.embedding, ids);
  return out;
}

at::Tensor forward_block(const Model& model, std::int64_t layer, const at::Tensor& hidden,
                         const Rotary& rotary, Attention& attention, const SiteObserver& observe,
                         Operations operations) {
  const Block& block = model.blocks[static_cast<std::size_t>(layer)];
  const ModelConfig& config = model.config;
  const auto seen = [&](const char* site, const at::Tensor& x) {
    if (observe) observe(block.name + site, x);
  };
  const at::Tensor x = rms_norm(hidden, block.attention_norm, config.rms_norm_eps);
  seen(".self_attn.input", x);
  const at::Tensor q = rotate(apply(block.q, x, operations), rotary, operations);
  const at::Tensor k = rotate(apply(block.k, x, operations), rotary, operations);
  const at::Tensor v = apply(block.v, x, operations).view(k.sizes());
  const at::Tensor attended = attention.attend(layer, q, k, v).flatten(1);
  seen(".self_attn.o_proj.input", attended);
  const at::Tensor middle = hidden + apply(block.o, attended, operations);

  const at::Tensor z = rms_norm(middle, block.mlp_norm, config.rms_norm_eps);
  seen(".mlp.input", z);
  const at::Tensor gated = gated_activation(block, z, config.activation, operations);
  seen(".mlp.down_proj.input", gated);
  return middle + apply(block.down, gated, operations);
}

at::Tensor forward_hidden(const Model& model, const Batch& batch, Attention& attention,
                          const SiteObserver& observe, Operations operations) {
  return forward_embedded(model, batch, embed(model, batch.ids), attention, observe, operations);
}

at::Tensor forward_embedded(const Model& model, const Batch& batch, at::Tensor hidden,
                            Attention& attention, const SiteObserver& observe,
                            Operations operations) {
  const Rotary rotary = rotary_of(model, batch.positions);
  for (std::int64_t layer = 0; layer < model.config.num_layers; ++layer) {
    hidden = forward_block(model, layer, hidden, rotary, attention, observe, operations);
  }
  return rms_norm(hidden, model.final_norm, model.config.rms_norm_eps);
}

at::Tensor logits_of(const Model& model, const at::Tensor& hidden) {
  return at::mm(hidden, as(model.head_weight(), hidden.scalar_type()).t());
}

at::Tensor cross_entropy_sum(const Model& model, const at::Tensor& hidden,
                             const at::Tensor& target_rows, const at::Tensor& target_ids,
                             Operations operations) {
  const std::int64_t count = target_ids.size(0);
  const std::int64_t chunk = kernels::logit_rows(model.config.vocab_size);
  if (with_nodes(operations)) {
    return cross_entropy_node(hidden.index_select(0, target_rows), model.head_weight(), target_ids,
                              chunk);
  }
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

at::Tensor loss_sum(const Model& model, const Batch& batch, Operations operations) {
  return loss_sum(model, batch, embed(model, batch.ids), operations);
}

at::Tensor loss_sum(const Model& model, const Batch& batch, const at::Tensor& embedded,
                    Operations operations) {
  PackedAttention attention(batch, /*fused=*/operations == Operations::kKernels);
  return cross_entropy_sum(model,
                           forward_embedded(model, batch, embedded, attention, {}, operations),
                           batch.target_rows, batch.target_ids, operations);
}

}  // namespace corda::model
