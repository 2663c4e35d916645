// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/attention_kernels.h"

#include <ATen/ATen.h>

#include <vector>

namespace corda::model {

namespace {

// [tokens, heads, d] -> [1, heads, tokens, d]
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

at::Tensor attend_one_by_one(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v) {
  const bool grouped = k.size(1) != q.size(1);
  std::vector<at::Tensor> outputs;
  outputs.reserve(static_cast<std::size_t>(batch.sequences()));
  for (std::size_t i = 0; i + 1 < batch.offsets.size(); ++i) {
    if (batch.offsets[i] == batch.offsets[i + 1]) continue;
    const auto cut = [&](const at::Tensor& x) {
      return heads_first(x.slice(0, batch.offsets[i], batch.offsets[i + 1]));
    };
    outputs.push_back(at::scaled_dot_product_attention(cut(q), cut(k), cut(v), {}, 0.0,
                                                       /*is_causal=*/true, {}, grouped)
                          .squeeze(0)
                          .transpose(0, 1));
  }
  return at::cat(outputs);
}

at::Tensor attend_efficient(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
  constexpr std::int64_t kCausalFromTopLeft = 1;
  const std::int64_t groups = q.size(1) / k.size(1);
  const auto expand = [&](const at::Tensor& x) {
    return (groups == 1 ? x : x.repeat_interleave(groups, 1)).unsqueeze(0);
  };
  return std::get<0>(at::_efficient_attention_forward(q.unsqueeze(0), expand(k), expand(v), {},
                                                      batch.cu_seqlens, batch.cu_seqlens,
                                                      batch.longest, batch.longest,
                                                      /*dropout_p=*/0.0, kCausalFromTopLeft,
                                                      /*compute_log_sumexp=*/true))
      .squeeze(0);
}

}  // namespace

AttentionPass attend_flash(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v) {
  const auto [out, log_sum_exp, seed, offset, mask] = at::_flash_attention_forward(
      q, k, v, batch.cu_seqlens, batch.cu_seqlens, batch.longest, batch.longest,
      /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false);
  return {AttentionPass::Route::kFlash, out, log_sum_exp, seed, offset};
}

at::Tensor attend_any(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v) {
  return q.is_cuda() ? attend_efficient(batch, q, k, v) : attend_one_by_one(batch, q, k, v);
}

}  // namespace corda::model
