// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "model/attention_kernels.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

namespace corda::model {

namespace {

// [tokens, heads, d] -> [1, heads, tokens, d]
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

at::Tensor attend_one_by_one(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                             const at::Tensor& k, const at::Tensor& v) {
  const bool grouped = k.size(1) != q.size(1);
  std::vector<at::Tensor> outputs;
  outputs.reserve(static_cast<std::size_t>(batch.sequences()));
  for (std::size_t i = 0; i + 1 < batch.offsets.size(); ++i) {
    if (batch.offsets[i] == batch.offsets[i + 1]) continue;
    const auto cut = [&](const at::Tensor& x) {
      return heads_first(x.slice(0, batch.offsets[i], batch.offsets[i + 1]));
    };
    outputs.push_back(at::scaled_dot_product_attention(cut(q), cut(k), cut(v), {}, 0.0,
                                                       /*is_causal=*/true, rule.scale, grouped)
                          .squeeze(0)
                          .transpose(0, 1));
  }
  return at::cat(outputs);
}

at::Tensor attend_efficient(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v) {
  constexpr std::int64_t kCausalFromTopLeft = 1;
  const std::int64_t groups = q.size(1) / k.size(1);
  const auto expand = [&](const at::Tensor& x) {
    return (groups == 1 ? x : x.repeat_interleave(groups, 1)).unsqueeze(0);
  };
  return std::get<0>(at::_efficient_attention_forward(q.unsqueeze(0), expand(k), expand(v), {},
                                                      batch.cu_seqlens, batch.cu_seqlens,
                                                      batch.longest, batch.longest,
                                                      /*dropout_p=*/0.0, kCausalFromTopLeft,
                                                      /*compute_log_sumexp=*/true, rule.scale))
      .squeeze(0);
}

at::Tensor attend_by_parts(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v) {
  std::vector<at::Tensor> outputs;
  for (const AttentionPart& part : attention_parts(batch, rule, q.size(1))) {
    outputs.push_back(attend_part(part, rule, q.slice(0, part.begin, part.end),
                                  k.slice(0, part.first_key, part.end),
                                  v.slice(0, part.first_key, part.end)));
  }
  return at::cat(outputs);
}

}  // namespace

std::int64_t window_in(const Batch& batch, const AttentionRule& rule) {
  return batch.longest > rule.window ? rule.window : 0;
}

bool goes_by_parts(const Batch& batch, const AttentionRule& rule) {
  return rule.soft_cap > 0 || window_in(batch, rule) > 0;
}

std::int64_t query_rows_at_once(std::int64_t heads, std::int64_t keys) {
  constexpr std::int64_t kScores = std::int64_t{1} << 26;
  return std::max<std::int64_t>(1, kScores / (heads * std::max<std::int64_t>(1, keys)));
}

std::vector<AttentionPart> attention_parts(const Batch& batch, const AttentionRule& rule,
                                           std::int64_t heads) {
  std::vector<AttentionPart> parts;
  for (std::size_t i = 0; i + 1 < batch.offsets.size(); ++i) {
    const std::int64_t first = batch.offsets[i];
    const std::int64_t last = batch.offsets[i + 1];
    const std::int64_t rows = query_rows_at_once(heads, last - first);
    for (std::int64_t begin = first; begin < last; begin += rows) {
      const std::int64_t first_key =
          rule.window > 0 ? std::max(first, begin - rule.window + 1) : first;
      parts.push_back({begin, std::min(last, begin + rows), first_key});
    }
  }
  return parts;
}

at::Tensor attend_part(const AttentionPart& part, const AttentionRule& rule, const at::Tensor& q,
                       const at::Tensor& k, const at::Tensor& v) {
  const at::TensorOptions options = at::TensorOptions().dtype(at::kLong).device(q.device());
  const at::Tensor rows = at::arange(part.begin, part.end, options).unsqueeze(1);
  const at::Tensor keys = at::arange(part.first_key, part.end, options).unsqueeze(0);
  at::Tensor seen = keys.le(rows);
  if (rule.window > 0) seen = seen.logical_and(keys.gt(rows - rule.window));
  return attend_written_out(q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1), seen, rule)
      .transpose(0, 1);
}

at::Tensor attend_written_out(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const at::Tensor& seen, const AttentionRule& rule) {
  const std::int64_t groups = q.size(-3) / k.size(-3);
  const auto wide = [&](const at::Tensor& x) {
    const at::Tensor fp32 = x.to(at::kFloat);
    return groups == 1 ? fp32 : fp32.repeat_interleave(groups, -3);
  };
  at::Tensor scores = at::matmul(q.to(at::kFloat), wide(k).transpose(-1, -2)) * rule.scale;
  if (rule.soft_cap > 0) scores = at::tanh(scores / rule.soft_cap) * rule.soft_cap;
  scores = scores.masked_fill(seen.logical_not(), -std::numeric_limits<float>::infinity());
  return at::matmul(at::softmax(scores, -1), wide(v)).to(q.scalar_type());
}

AttentionPass attend_flash(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                           const at::Tensor& k, const at::Tensor& v) {
  const std::int64_t window = window_in(batch, rule);
  // Flash counts the keys to the left of the query's own.
  const auto left = window > 0 ? std::optional<std::int64_t>(window - 1) : std::nullopt;
  const auto right = window > 0 ? std::optional<std::int64_t>(0) : std::nullopt;
  const auto [out, log_sum_exp, seed, offset, mask] = at::_flash_attention_forward(
      q, k, v, batch.cu_seqlens, batch.cu_seqlens, batch.longest, batch.longest,
      /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, rule.scale, left, right);
  return {AttentionPass::Route::kFlash, out, log_sum_exp, seed, offset};
}

at::Tensor attend_any(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                      const at::Tensor& k, const at::Tensor& v) {
  if (goes_by_parts(batch, rule)) return attend_by_parts(batch, rule, q, k, v);
  return q.is_cuda() ? attend_efficient(batch, rule, q, k, v)
                     : attend_one_by_one(batch, rule, q, k, v);
}

}  // namespace corda::model
