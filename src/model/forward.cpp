// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/forward.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "corda/core/error.h"
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
    norms =
        with_nodes(operations) || can_fuse(base)
            ? adapted_row_norms(weight_of(linear), low_rank)
            : at::addmm(weight_of(linear).to(at::kFloat), low_rank.b, low_rank.a, 1, low_rank.scale)
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
at::Tensor product(const at::Tensor& x, const Linear& linear, const at::Tensor& bias,
                   Operations operations) {
  if (linear.packed && at::GradMode::is_enabled()) {
    const at::Tensor y = packed_product_node(x, linear);
    return bias.defined() ? y + bias : y;
  }
  const at::Tensor weight = weight_of(linear);
  if (with_nodes(operations) && weight.requires_grad() && weight.scalar_type() != x.scalar_type()) {
    const at::Tensor y = master_product_node(x, weight);
    return bias.defined() ? y + bias : y;
  }
  const at::Tensor rounded = as(weight, x.scalar_type()).t();
  return bias.defined() ? at::addmm(bias, x, rounded) : at::mm(x, rounded);
}

// The pairs of x [tokens, heads, head_dim] turned in ATen's operations.
at::Tensor turned(const at::Tensor& x, const Rotary& rotary, bool interleaved) {
  const std::int64_t half = rotary.cos.size(1);
  const std::int64_t d = x.size(2);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor a = interleaved ? wide.slice(2, 0, 2 * half, 2) : wide.narrow(2, 0, half);
  const at::Tensor b = interleaved ? wide.slice(2, 1, 2 * half, 2) : wide.narrow(2, half, half);
  const at::Tensor cos = rotary.cos.unsqueeze(1);
  const at::Tensor sin = rotary.sin.unsqueeze(1);
  const at::Tensor low = a * cos - b * sin;
  const at::Tensor high = b * cos + a * sin;
  std::vector<at::Tensor> parts =
      interleaved ? std::vector<at::Tensor>{at::stack({low, high}, -1).flatten(2)}
                  : std::vector<at::Tensor>{low, high};
  if (2 * half < d) parts.push_back(wide.narrow(2, 2 * half, d - 2 * half));
  return at::cat(parts, -1).to(x.scalar_type());
}

// x [tokens, heads * head_dim] -> [tokens, heads, head_dim], rotated, in place where that is
// allowed.
at::Tensor rotate(const at::Tensor& x, const Rotary& rotary, kernels::RotaryShape shape,
                  Operations operations) {
  const at::Tensor heads = x.unflatten(1, {-1, shape.head_dim});
  if (can_fuse(x)) {
    kernels::rotate(x, heads.size(1), rotary.cos, rotary.sin, shape);
    return heads;
  }
  if (with_nodes(operations)) {
    // A part of a wider result is copied, since its other parts must stay as they are.
    return rotate_node(x.contiguous(), rotary, shape).view(heads.sizes());
  }
  return turned(heads, rotary, shape.interleaved);
}

// The norm of queries or keys [tokens, features]; x itself where the family has none.
at::Tensor normed_heads(const ModelDescription& config, const at::Tensor& x,
                        const at::Tensor& weight) {
  if (!weight.defined()) return x;
  return rms_norm(x.unflatten(1, {-1, weight.size(0)}), weight, config.norm_eps, config.norm)
      .flatten(1);
}

// The results of a site's layers side by side, [tokens, out].
at::Tensor apply_site(const std::vector<Linear>& layers, const at::Tensor& x,
                      Operations operations) {
  if (layers.size() == 1) return apply(layers.front(), x, operations);
  std::vector<at::Tensor> parts;
  for (const Linear& layer : layers) parts.push_back(apply(layer, x, operations));
  return at::cat(parts, 1);
}

// The results of a site's layers cut into `widths`, which one layer may hold several of.
std::vector<at::Tensor> apply_parts(const std::vector<Linear>& layers, const at::Tensor& x,
                                    const std::vector<std::int64_t>& widths,
                                    Operations operations) {
  std::vector<at::Tensor> parts;
  if (layers.size() == widths.size()) {
    for (const Linear& layer : layers) parts.push_back(apply(layer, x, operations));
    return parts;
  }
  return apply_site(layers, x, operations).split_with_sizes(widths, 1);
}

// activation(gate) * up.
at::Tensor gated_activation(const Block& block, const FeedForwardDescription& config,
                            const at::Tensor& z, Operations operations) {
  const auto parts = apply_parts(block.sites[kFeedForwardInput], z,
                                 {config.intermediate, config.intermediate}, operations);
  const at::Tensor& gate = parts[0];
  const at::Tensor& up = parts[1];
  if (can_fuse(z)) {
    const at::Tensor out = at::empty({z.size(0), config.intermediate}, z.options());
    kernels::glu(out, gate, up, config.activation);
    return out;
  }
  if (with_nodes(operations))
    return glu_node(gate.contiguous(), up.contiguous(), config.activation);
  return kernels::activate(gate, config.activation) * up;
}

// residual + scale * norm(branch), without the norm where it is undefined.
at::Tensor add_branch(const ModelDescription& config, const at::Tensor& residual,
                      const at::Tensor& branch, const at::Tensor& norm) {
  const at::Tensor y =
      norm.defined() ? rms_norm(branch, norm, config.norm_eps, config.norm) : branch;
  return config.residual_scale == 1 ? residual + y : residual + y * config.residual_scale;
}

at::Tensor norm_where_defined(const ModelDescription& config, const at::Tensor& x,
                              const at::Tensor& norm) {
  return norm.defined() ? rms_norm(x, norm, config.norm_eps, config.norm) : x;
}

// The angles [tokens, dims / 2] of a rotary, fp32.
at::Tensor angles_of(const RotaryDescription& rope, const RotaryFrequencies& frequencies,
                     const Batch& batch) {
  const at::Tensor positions = batch.positions.to(at::kFloat).unsqueeze(1);
  const bool long_ones =
      rope.depends_on_length() &&
      std::any_of(batch.lengths.begin(), batch.lengths.end(),
                  [&](std::int64_t length) { return length > rope.original_positions; });
  if (!long_ones) return positions * frequencies.usual.unsqueeze(0);
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < batch.lengths.size(); ++i) {
    parts.push_back(positions.slice(0, batch.offsets[i], batch.offsets[i + 1]) *
                    frequencies_for(rope, frequencies, batch.lengths[i]).unsqueeze(0));
  }
  return at::cat(parts);
}

// 1 + beta ln(1 + floor(p / positions)); undefined where that is 1 for the whole batch.
at::Tensor query_factor_of(const AttentionDescription& attention, const Batch& batch) {
  const std::int64_t step = attention.query_growth_positions;
  const bool grows =
      attention.query_growth > 0 && std::any_of(batch.lengths.begin(), batch.lengths.end(),
                                                [&](std::int64_t length) { return length > step; });
  if (!grows) return {};
  const at::Tensor steps = at::floor_divide(batch.positions, step).to(at::kFloat);
  return at::log1p(steps) * attention.query_growth + 1;
}

}  // namespace

Positions positions_of(const Model& model, const Batch& batch) {
  Positions positions;
  for (std::size_t i = 0; i < model.frequencies.size(); ++i) {
    const RotaryDescription& rope = model.config.rotaries[i];
    const at::Tensor angles = angles_of(rope, model.frequencies[i], batch);
    Rotary rotary{angles.cos(), angles.sin()};
    if (rope.magnitude != 1) {
      rotary.cos.mul_(rope.magnitude);
      rotary.sin.mul_(rope.magnitude);
    }
    positions.rotaries.push_back(std::move(rotary));
  }
  positions.query_factor = query_factor_of(model.config.attention, batch);
  return positions;
}

at::Tensor apply(const Linear& linear, const at::Tensor& x, Operations operations) {
  const at::ScalarType type = x.scalar_type();
  const at::Tensor bias = linear.bias.defined() ? as(linear.bias, type) : at::Tensor();
  if (!linear.low_rank) return product(x, linear, bias, operations);
  const LowRank& low_rank = *linear.low_rank;
  const bool dropping = low_rank.dropout > 0 && at::GradMode::is_enabled();
  const at::Tensor dropped = dropping ? at::dropout(x, low_rank.dropout, true) : x;
  const at::Tensor bottom = at::mm(dropped, as(low_rank.a, type).t());
  if (low_rank.magnitude.defined()) {
    const at::Tensor plain = product(x, linear, {}, operations);
    return apply_dora(linear, plain, dropping ? product(dropped, linear, {}, operations) : plain,
                      bottom, operations);
  }
  return at::addmm(product(x, linear, bias, operations), bottom, as(low_rank.b, type).t(), 1,
                   low_rank.scale);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    kernels::NormKind kind) {
  const at::ScalarType type = x.scalar_type();
  if (can_fuse(x) && weight.scalar_type() == type && x.dim() == 2) {
    const at::Tensor out = at::empty_like(x, at::MemoryFormat::Contiguous);
    kernels::rms_norm(out, at::empty({x.size(0)}, x.options().dtype(at::kFloat)), x, weight, eps,
                      kind);
    return out;
  }
  const at::Tensor factor = kind.offset == 0 ? weight : weight.to(at::kFloat) + kind.offset;
  if (type == at::kFloat) return at::rms_norm(x, weight.sizes(), as(factor, type), eps);
  if (kind.rounds_before_weight)
    return at::rms_norm(x.to(at::kFloat), weight.sizes(), {}, eps).to(type) * as(factor, type);
  return at::rms_norm(x.to(at::kFloat), weight.sizes(), as(factor, at::kFloat), eps).to(type);
}

double embedding_scale(const ModelDescription& model, at::ScalarType table) {
  if (!model.rounds_embedding_scale) return model.embedding_scale;
  return at::scalar_tensor(model.embedding_scale, at::kFloat)
      .to(table)
      .to(at::kDouble)
      .item<double>();
}

at::Tensor embed(const Model& model, const at::Tensor& ids) {
  const at::ScalarType type = model.embedding.scalar_type();
  const double scale = embedding_scale(model.config, type);
  if (!can_fuse(model.device(), model.compute) || type != model.compute) {
    const at::Tensor rows = at::embedding(model.embedding, ids);
    return as(scale == 1 ? rows : rows * scale, model.compute);
  }
  const at::Tensor out = at::empty({ids.size(0), model.config.hidden_size},
                                   model.embedding.options().dtype(model.compute));
  kernels::embedding(out, model.embedding, ids);
  return scale == 1 ? out : out.mul_(scale);
}

namespace {

// Queries, keys and values of x through norms and rotation to the attention's output [tokens, in of
// o].
at::Tensor attend(const Model& model, std::int64_t layer, const at::Tensor& x,
                  const Positions& positions, Attention& attention, Operations operations) {
  const ModelDescription& config = model.config;
  const AttentionDescription& shape = config.attention;
  const auto index = static_cast<std::size_t>(layer);
  const Block& block = model.blocks[index];
  const auto parts =
      apply_parts(block.sites[kAttentionInput], x,
                  {shape.query_features(), shape.key_features(), shape.key_features()}, operations);
  const Rotary* rotary = positions.of(config.blocks[index]);
  const auto placed = [&](const at::Tensor& part, const at::Tensor& norm) {
    const at::Tensor heads = normed_heads(config, part, norm);
    if (rotary == nullptr) return heads.unflatten(1, {-1, shape.head_dim});
    const auto& rope = config.rotaries[static_cast<std::size_t>(config.blocks[index].rotary)];
    return rotate(heads, *rotary, {shape.head_dim, rope.interleaved}, operations);
  };
  at::Tensor q = placed(parts[0], block.query_norm);
  const at::Tensor k = placed(parts[1], block.key_norm);
  const at::Tensor v = parts[2].unflatten(1, {-1, shape.head_dim});
  if (positions.query_factor.defined())
    q = q * positions.query_factor.to(q.scalar_type()).view({-1, 1, 1});
  return attention.attend(layer, attention_rule(config, layer), q, k, v).flatten(1);
}

}  // namespace

at::Tensor forward_block(const Model& model, std::int64_t layer, const at::Tensor& hidden,
                         const Positions& positions, Attention& attention,
                         const SiteObserver& observe, Operations operations) {
  const Block& block = model.blocks[static_cast<std::size_t>(layer)];
  const ModelDescription& config = model.config;
  const auto seen = [&](SiteIndex site, const at::Tensor& x) {
    if (observe) observe(core::concat(block.name, ".", config.sites()[site]->name), x);
  };
  const at::Tensor x = norm_where_defined(config, hidden, block.norm_before_attention);
  seen(kAttentionInput, x);
  const at::Tensor attended = attend(model, layer, x, positions, attention, operations);
  seen(kAttentionOutput, attended);
  const at::Tensor middle =
      add_branch(config, hidden, apply_site(block.sites[kAttentionOutput], attended, operations),
                 block.norm_after_attention);

  const at::Tensor z = norm_where_defined(config, middle, block.norm_before_feed_forward);
  seen(kFeedForwardInput, z);
  const at::Tensor gated = gated_activation(block, config.feed_forward, z, operations);
  seen(kFeedForwardOutput, gated);
  return add_branch(config, middle, apply_site(block.sites[kFeedForwardOutput], gated, operations),
                    block.norm_after_feed_forward);
}

at::Tensor forward_hidden(const Model& model, const Batch& batch, Attention& attention,
                          const SiteObserver& observe, Operations operations) {
  return forward_embedded(model, batch, embed(model, batch.ids), attention, observe, operations);
}

at::Tensor forward_embedded(const Model& model, const Batch& batch, at::Tensor hidden,
                            Attention& attention, const SiteObserver& observe,
                            Operations operations) {
  const Positions positions = positions_of(model, batch);
  for (std::int64_t layer = 0; layer < model.config.num_layers(); ++layer) {
    hidden = forward_block(model, layer, hidden, positions, attention, observe, operations);
  }
  return rms_norm(hidden, model.final_norm, model.config.norm_eps, model.config.norm);
}

kernels::LogitRule logit_rule(const ModelDescription& model) {
  return {.scale = model.logit_scale, .soft_cap = model.logit_soft_cap};
}

at::Tensor finished_logits(const ModelDescription& model, at::Tensor logits) {
  if (model.logit_scale != 1) logits = logits * model.logit_scale;
  const double cap = model.logit_soft_cap;
  return cap > 0 ? at::tanh(logits / cap) * cap : logits;
}

at::Tensor logits_of(const Model& model, const at::Tensor& hidden) {
  return finished_logits(model.config,
                         at::mm(hidden, as(model.head_weight(), hidden.scalar_type()).t()));
}

namespace {

// The sum of the losses with the gradient of the weighted sum.
at::Tensor weighed_sum(const at::Tensor& logits, const at::Tensor& ids, double entropy_power) {
  const at::Tensor losses = at::cross_entropy_loss(logits, ids, {}, at::Reduction::None);
  const at::Tensor weighed = (losses * kernels::entropy_weights(logits, entropy_power)).sum();
  return losses.detach().sum() + (weighed - weighed.detach());
}

}  // namespace

at::Tensor cross_entropy_sum(const Model& model, const at::Tensor& hidden,
                             const at::Tensor& target_rows, const at::Tensor& target_ids,
                             Operations operations) {
  const std::int64_t count = target_ids.size(0);
  const std::int64_t chunk = kernels::logit_rows(model.config.vocab_size);
  if (with_nodes(operations)) {
    return cross_entropy_node(hidden.index_select(0, target_rows), model.head_weight(), target_ids,
                              chunk, logit_rule(model.config), model.entropy_power);
  }
  at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kFloat));
  for (std::int64_t begin = 0; begin < count; begin += chunk) {
    const std::int64_t end = std::min(count, begin + chunk);
    const at::Tensor logits =
        logits_of(model, hidden.index_select(0, target_rows.slice(0, begin, end))).to(at::kFloat);
    const at::Tensor ids = target_ids.slice(0, begin, end);
    sum = sum + (model.entropy_power > 0 && at::GradMode::is_enabled()
                     ? weighed_sum(logits, ids, model.entropy_power)
                     : at::cross_entropy_loss(logits, ids, {}, at::Reduction::Sum));
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
