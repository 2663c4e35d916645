// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "corda/model/attention.h"
#include "corda/model/attention_pass.h"
#include "model/attention_kernels.h"

namespace corda::model {

namespace {

// [tokens, heads, d] -> [1, heads, tokens, d]
at::Tensor heads_first(const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); }

at::Tensor attend_plain(const AttentionRule& rule, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, const std::optional<at::Tensor>& seen, bool causal) {
  const bool grouped = k.size(1) != q.size(1);
  return at::scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v), seen, 0.0,
                                          causal, rule.scale, grouped)
      .squeeze(0)
      .transpose(0, 1);
}

// Queries of one sequence attend part by part, so that their scores take a bounded amount of
// memory.
at::Tensor attend_masked(const AttentionRule& rule, const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v) {
  const std::int64_t before = k.size(0) - q.size(0);  // keys before the first query's own
  const std::int64_t step = query_rows_at_once(q.size(1), k.size(0));
  const at::TensorOptions options = at::TensorOptions().dtype(at::kLong).device(q.device());
  std::vector<at::Tensor> parts;
  for (std::int64_t begin = 0; begin < q.size(0); begin += step) {
    const std::int64_t end = std::min(q.size(0), begin + step);
    const std::int64_t last = before + end;
    const std::int64_t first =
        rule.window > 0 ? std::max<std::int64_t>(0, before + begin - rule.window + 1) : 0;
    const at::Tensor rows = at::arange(before + begin, last, options).unsqueeze(1);
    const at::Tensor columns = at::arange(first, last, options).unsqueeze(0);
    at::Tensor seen = columns.le(rows);
    if (rule.window > 0) seen = seen.logical_and(columns.gt(rows - rule.window));
    const at::Tensor queries = q.slice(0, begin, end);
    const at::Tensor keys = k.slice(0, first, last);
    const at::Tensor values = v.slice(0, first, last);
    parts.push_back(rule.soft_cap > 0
                        ? attend_written_out(queries.transpose(0, 1), keys.transpose(0, 1),
                                             values.transpose(0, 1), seen, rule)
                              .transpose(0, 1)
                        : attend_plain(rule, queries, keys, values, seen, /*causal=*/false));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

at::Tensor attend_span(const AttentionRule& rule, const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v) {
  const bool one = q.size(0) == 1;
  const bool whole = q.size(0) == k.size(0);
  const bool cut = rule.window > 0 && k.size(0) > rule.window;
  if (rule.soft_cap > 0 || (cut && !one) || (!one && !whole)) return attend_masked(rule, q, k, v);
  const std::int64_t first = cut ? k.size(0) - rule.window : 0;
  return attend_plain(rule, q, k.slice(0, first), v.slice(0, first), {}, /*causal=*/!one);
}

at::Tensor int32_tensor(const std::vector<std::int32_t>& values, at::Device device) {
  return at::tensor(values, at::kInt).to(device);
}

}  // namespace

void complete(KeySpans& spans, at::Device device) {
  for (std::size_t i = 0; i < spans.lengths.size(); ++i) {
    spans.most_queries =
        std::max<std::int64_t>(spans.most_queries, spans.queries[i + 1] - spans.queries[i]);
    spans.most_keys = std::max<std::int64_t>(spans.most_keys, spans.lengths[i]);
  }
  if (!device.is_cuda()) return;  // one call a sequence needs no tensors
  spans.cu_queries = int32_tensor(spans.queries, device);
  spans.used_keys = int32_tensor(spans.lengths, device);
  std::vector<std::int32_t> first_keys = spans.first_keys;
  first_keys.push_back(first_keys.back() + spans.lengths.back());
  spans.cu_keys = int32_tensor(first_keys, device);
}

at::Tensor attend_spans(const KeySpans& spans, const AttentionRule& rule, const at::Tensor& q,
                        const at::Tensor& k, const at::Tensor& v) {
  if (suits_flash(q, rule)) {
    const bool cut = rule.window > 0 && spans.most_keys > rule.window;
    // Flash counts the keys to the left of the query's own.
    const auto left = cut ? std::optional<std::int64_t>(rule.window - 1) : std::nullopt;
    const auto right = cut ? std::optional<std::int64_t>(0) : std::nullopt;
    return std::get<0>(at::_flash_attention_forward(
        q, k, v, spans.cu_queries, spans.cu_keys, spans.most_queries, spans.most_keys,
        /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, rule.scale, left, right,
        spans.used_keys));
  }
  std::vector<at::Tensor> outputs;
  outputs.reserve(spans.lengths.size());
  for (std::size_t i = 0; i < spans.lengths.size(); ++i) {
    const auto keys = [&](const at::Tensor& x) {
      return x.slice(0, spans.first_keys[i], spans.first_keys[i] + spans.lengths[i]);
    };
    outputs.push_back(
        attend_span(rule, q.slice(0, spans.queries[i], spans.queries[i + 1]), keys(k), keys(v)));
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

}  // namespace corda::model
