// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/attention_pass.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "model/attention_kernels.h"

namespace corda::model {

namespace {

constexpr std::int64_t kCudnnLengthStep = 128;

AttentionPass::Route route_of(const Batch& batch, const at::Tensor& q) {
  if (!suits_flash(q)) return AttentionPass::Route::kAutograd;
  const bool equal = batch.tokens() == batch.sequences() * batch.longest;
  const bool cudnn = equal && batch.longest % kCudnnLengthStep == 0 && q.size(2) <= 128;
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

AttentionPass forward_cudnn(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
  const auto [out, log_sum_exp, cu_q, cu_k, max_q, max_k, seed, offset, mask] =
      at::_cudnn_attention_forward(
          split_sequences(batch, q), split_sequences(batch, k), split_sequences(batch, v),
          /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, batch.longest, batch.longest,
          /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true);
  return {AttentionPass::Route::kCudnn, join_sequences(out), log_sum_exp, seed, offset};
}

AttentionGradients backward_autograd(const Batch& batch, const at::Tensor& grad_out,
                                     const at::Tensor& q, const at::Tensor& k,
                                     const at::Tensor& v) {
  const at::AutoGradMode with_gradients(true);
  const auto leaf = [](const at::Tensor& x) { return x.detach().requires_grad_(true); };
  const at::Tensor leaf_q = leaf(q);
  const at::Tensor leaf_k = leaf(k);
  const at::Tensor leaf_v = leaf(v);
  const at::Tensor out = attend_any(batch, leaf_q, leaf_k, leaf_v);
  const auto gradients = torch::autograd::grad({out}, {leaf_q, leaf_k, leaf_v}, {grad_out});
  return {gradients[0].contiguous(), gradients[1].contiguous(), gradients[2].contiguous()};
}

}  // namespace

bool suits_flash(at::ScalarType type, std::int64_t d) {
  return type != at::kFloat && d % 8 == 0 && d <= 256;
}

bool suits_flash(const at::Tensor& q) {
  return q.is_cuda() && suits_flash(q.scalar_type(), q.size(2));
}

bool repeats_heads(at::ScalarType type, const ModelConfig& config) {
  return config.num_kv_heads < config.num_heads && !suits_flash(type, config.head_dim);
}

AttentionPass attention_forward(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                                const at::Tensor& v) {
  const at::NoGradGuard no_grad;
  switch (route_of(batch, q)) {
    case AttentionPass::Route::kCudnn:
      return forward_cudnn(batch, q, k, v);
    case AttentionPass::Route::kFlash:
      return attend_flash(batch, q, k, v);
    case AttentionPass::Route::kAutograd:
      break;
  }
  return {AttentionPass::Route::kAutograd, attend_any(batch, q, k, v).contiguous(), {}, {}, {}};
}

AttentionGradients attention_backward(const Batch& batch, const AttentionPass& pass,
                                      const at::Tensor& grad_out, const at::Tensor& q,
                                      const at::Tensor& k, const at::Tensor& v) {
  if (pass.route == AttentionPass::Route::kAutograd)
    return backward_autograd(batch, grad_out, q, k, v);
  const at::NoGradGuard no_grad;
  if (pass.route == AttentionPass::Route::kFlash) {
    const auto [dq, dk, dv] = at::_flash_attention_backward(
        grad_out, q, k, v, pass.out, pass.log_sum_exp, batch.cu_seqlens, batch.cu_seqlens,
        batch.longest, batch.longest, /*dropout_p=*/0.0, /*is_causal=*/true, pass.seed,
        pass.offset);
    return {dq.contiguous(), dk.contiguous(), dv.contiguous()};
  }
  const auto split = [&](const at::Tensor& x) { return split_sequences(batch, x); };
  const auto [dq, dk, dv] = at::_scaled_dot_product_cudnn_attention_backward(
      split(grad_out), split(q), split(k), split(v), split(pass.out), pass.log_sum_exp, pass.seed,
      pass.offset, /*attn_bias=*/{}, /*cum_seq_q=*/{}, /*cum_seq_k=*/{}, batch.longest,
      batch.longest, /*dropout_p=*/0.0, /*is_causal=*/true);
  return {join_sequences(dq), join_sequences(dk), join_sequences(dv)};
}

}  // namespace corda::model
