// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/attention_pass.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/attention_kernels.h"

namespace corda::model {

namespace {

constexpr std::int64_t kCudnnLengthStep = 128;

AttentionPass::Route route_of(const Batch& batch, const AttentionRule& rule, const at::Tensor& q) {
  if (!suits_flash(q, rule)) return AttentionPass::Route::kAutograd;
  const bool equal = batch.tokens() == batch.sequences() * batch.longest;
  const bool cudnn = equal && batch.longest % kCudnnLengthStep == 0 && q.size(2) <= 128 &&
                     window_in(batch, rule) == 0;
  return cudnn ? AttentionPass::Route::kCudnn : AttentionPass::Route::kFlash;
}

// [tokens, heads, d] -> [sequences, heads, length, d], a view.
at::Tensor split_sequences(const Batch& batch, const at::Tensor& x) {
  return x.unflatten(0, {batch.sequences(), batch.longest}).transpose(1, 2);
}

// The inverse; a view, since cuDNN lays its results out like its arguments.
at::Tensor join_sequences(const at::Tensor& x) {
  return x.transpose(1, 2).flatten(0, 1).contiguous();
}

AttentionPass forward_cudnn(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v) {
  const auto [out, log_sum_exp, cu_q, cu_k, max_q, max_k, seed, offset, mask] =
      at::_cudnn_attention_forward(
          split_sequences(batch, q), split_sequences(batch, k), split_sequences(batch, v),
          /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, batch.longest, batch.longest,
          /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true,
          /*return_debug_mask=*/false, rule.scale);
  return {AttentionPass::Route::kCudnn, join_sequences(out), log_sum_exp, seed, offset};
}

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(true); }

// Goes backward part by part, so that memory holds the scores of one part alone.
AttentionGradients backward_by_parts(const Batch& batch, const AttentionRule& rule,
                                     const at::Tensor& grad_out, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v) {
  const auto zeros = [](const at::Tensor& x) { return at::zeros(x.sizes(), x.options()); };
  // Keys belong to several parts, whose gradients are summed in fp32.
  const auto sums = [](const at::Tensor& x) {
    return at::zeros(x.sizes(), x.options().dtype(at::kFloat));
  };
  const at::Tensor dq = zeros(q);
  const at::Tensor dk = sums(k);
  const at::Tensor dv = sums(v);
  for (const AttentionPart& part : attention_parts(batch, rule, q.size(1))) {
    const at::Tensor leaf_q = leaf(q.slice(0, part.begin, part.end));
    const at::Tensor leaf_k = leaf(k.slice(0, part.first_key, part.end));
    const at::Tensor leaf_v = leaf(v.slice(0, part.first_key, part.end));
    const at::Tensor out = attend_part(part, rule, leaf_q, leaf_k, leaf_v);
    const auto gradients = torch::autograd::grad({out}, {leaf_q, leaf_k, leaf_v},
                                                 {grad_out.slice(0, part.begin, part.end)});
    dq.slice(0, part.begin, part.end).copy_(gradients[0]);
    dk.slice(0, part.first_key, part.end).add_(gradients[1]);
    dv.slice(0, part.first_key, part.end).add_(gradients[2]);
  }
  return {dq, dk.to(k.scalar_type()), dv.to(v.scalar_type())};
}

AttentionGradients backward_autograd(const Batch& batch, const AttentionRule& rule,
                                     const at::Tensor& grad_out, const at::Tensor& q,
                                     const at::Tensor& k, const at::Tensor& v) {
  const at::AutoGradMode with_gradients(true);
  if (goes_by_parts(batch, rule)) return backward_by_parts(batch, rule, grad_out, q, k, v);
  const at::Tensor leaf_q = leaf(q);
  const at::Tensor leaf_k = leaf(k);
  const at::Tensor leaf_v = leaf(v);
  const at::Tensor out = attend_any(batch, rule, leaf_q, leaf_k, leaf_v);
  const auto gradients = torch::autograd::grad({out}, {leaf_q, leaf_k, leaf_v}, {grad_out});
  return {gradients[0].contiguous(), gradients[1].contiguous(), gradients[2].contiguous()};
}

bool suits_flash(at::ScalarType type, std::int64_t d, double soft_cap) {
  return type != at::kFloat && d % 8 == 0 && d <= 256 && soft_cap == 0;
}

}  // namespace

bool suits_flash(at::ScalarType type, const AttentionDescription& attention) {
  return suits_flash(type, attention.head_dim, attention.soft_cap);
}

bool suits_flash(const at::Tensor& q, const AttentionRule& rule) {
  return q.is_cuda() && suits_flash(q.scalar_type(), q.size(2), rule.soft_cap);
}

bool repeats_heads(at::ScalarType type, const AttentionDescription& attention) {
  return attention.kv_heads < attention.heads && !suits_flash(type, attention);
}

AttentionPass attention_forward(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                                const at::Tensor& k, const at::Tensor& v) {
  const at::NoGradGuard no_grad;
  switch (route_of(batch, rule, q)) {
    case AttentionPass::Route::kCudnn:
      return forward_cudnn(batch, rule, q, k, v);
    case AttentionPass::Route::kFlash:
      return attend_flash(batch, rule, q, k, v);
    case AttentionPass::Route::kAutograd:
      break;
  }
  return {
      AttentionPass::Route::kAutograd, attend_any(batch, rule, q, k, v).contiguous(), {}, {}, {}};
}

AttentionGradients attention_backward(const Batch& batch, const AttentionRule& rule,
                                      const AttentionPass& pass, const at::Tensor& grad_out,
                                      const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v) {
  if (pass.route == AttentionPass::Route::kAutograd)
    return backward_autograd(batch, rule, grad_out, q, k, v);
  const at::NoGradGuard no_grad;
  if (pass.route == AttentionPass::Route::kFlash) {
    const std::int64_t window = window_in(batch, rule);
    const auto left = window > 0 ? std::optional<std::int64_t>(window - 1) : std::nullopt;
    const auto right = window > 0 ? std::optional<std::int64_t>(0) : std::nullopt;
    const auto [dq, dk, dv] = at::_flash_attention_backward(
        grad_out, q, k, v, pass.out, pass.log_sum_exp, batch.cu_seqlens, batch.cu_seqlens,
        batch.longest, batch.longest, /*dropout_p=*/0.0, /*is_causal=*/true, pass.seed, pass.offset,
        rule.scale, left, right);
    return {dq.contiguous(), dk.contiguous(), dv.contiguous()};
  }
  const auto split = [&](const at::Tensor& x) { return split_sequences(batch, x); };
  const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
      split(grad_out), split(q), split(k), split(v), split(pass.out), pass.log_sum_exp, pass.seed,
      pass.offset, /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, batch.longest,
      batch.longest, /*dropout_p=*/0.0, /*is_causal=*/true, rule.scale);
  return {join_sequences(dq), join_sequences(dk), join_sequences(dv)};
}

}  // namespace corda::model
