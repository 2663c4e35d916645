// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/attention.h"

#include <ATen/ATen.h>

#include "corda/model/attention_pass.h"
#include "model/attention_kernels.h"
#include "model/nodes.h"

namespace corda::model {

AttentionRule attention_rule(const ModelDescription& model, std::int64_t layer) {
  return {.scale = model.attention.scale,
          .window = model.blocks[static_cast<std::size_t>(layer)].window,
          .soft_cap = model.attention.soft_cap};
}

at::Tensor PackedAttention::attend(std::int64_t /*layer*/, const AttentionRule& rule,
                                   const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  if (!at::GradMode::is_enabled()) return attention_forward(batch_, rule, q, k, v).out;
  const bool flash = suits_flash(q, rule);
  // The node keeps no scores, of which there are many where they are written out.
  if (fused_ && (flash || goes_by_parts(batch_, rule)))
    return attention_node(batch_, rule, q, k, v);
  return flash ? attend_flash(batch_, rule, q, k, v).out : attend_any(batch_, rule, q, k, v);
}

KeyValueCache::KeyValueCache(std::int64_t layers, std::int64_t sequences, std::int64_t kv_heads,
                             std::int64_t capacity, std::int64_t head_dim,
                             at::TensorOptions options)
    : lengths_(at::zeros({sequences}, options.dtype(at::kLong))) {
  for (std::int64_t layer = 0; layer < layers; ++layer) {
    keys_.push_back(at::zeros({sequences, kv_heads, capacity, head_dim}, options));
    values_.push_back(at::zeros({sequences, kv_heads, capacity, head_dim}, options));
  }
}

void KeyValueCache::advance(const std::vector<std::int64_t>& new_tokens) {
  lengths_ += at::tensor(new_tokens, at::kLong).to(lengths_.device());
}

at::Tensor KeyValueCache::Prefill::attend(std::int64_t layer, const AttentionRule& rule,
                                          const at::Tensor& q, const at::Tensor& k,
                                          const at::Tensor& v) {
  const auto index = static_cast<std::size_t>(layer);
  for (std::int64_t i = 0; i < batch_.sequences(); ++i) {
    const std::int64_t begin = batch_.offsets[static_cast<std::size_t>(i)];
    const std::int64_t end = batch_.offsets[static_cast<std::size_t>(i) + 1];
    cache_.keys_[index]
        .select(0, i)
        .slice(1, 0, end - begin)
        .copy_(k.slice(0, begin, end).transpose(0, 1));
    cache_.values_[index]
        .select(0, i)
        .slice(1, 0, end - begin)
        .copy_(v.slice(0, begin, end).transpose(0, 1));
  }
  return packed_.attend(layer, rule, q, k, v);
}

KeyValueCache::Decode::Decode(KeyValueCache& cache)
    : cache_(cache), slots_(at::arange(cache.keys_.front().size(2), cache.lengths_.options())) {}

at::Tensor KeyValueCache::Decode::attend(std::int64_t layer, const AttentionRule& rule,
                                         const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v) {
  const auto index = static_cast<std::size_t>(layer);
  at::Tensor& keys = cache_.keys_[index];
  at::Tensor& values = cache_.values_[index];
  const at::Tensor slot =
      cache_.lengths_.view({-1, 1, 1, 1}).expand({-1, keys.size(1), 1, keys.size(3)});
  keys.scatter_(2, slot, k.unsqueeze(2));
  values.scatter_(2, slot, v.unsqueeze(2));
  // The new token is stored at its sequence's length, so that slot counts as seen.
  const at::Tensor last = cache_.lengths_.unsqueeze(1);
  at::Tensor seen = slots_.unsqueeze(0).le(last);
  if (rule.window > 0) seen = seen.logical_and(slots_.unsqueeze(0).gt(last - rule.window));
  seen = seen.unsqueeze(1).unsqueeze(1);  // [sequences, 1, 1, capacity]
  if (rule.soft_cap > 0)
    return attend_written_out(q.unsqueeze(2), keys, values, seen, rule).squeeze(2);
  const bool grouped = k.size(1) != q.size(1);
  return at::scaled_dot_product_attention(q.unsqueeze(2), keys, values, seen, 0.0,
                                          /*is_causal=*/false, rule.scale, grouped)
      .squeeze(2);
}

}  // namespace corda::model
