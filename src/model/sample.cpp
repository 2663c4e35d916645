// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include "corda/model/generate.h"

namespace corda::model {

namespace {

std::vector<std::int32_t> on_host(const at::Tensor& ids) {
  const at::Tensor host = ids.to(at::kCPU, at::kInt).contiguous();
  const auto* data = host.const_data_ptr<std::int32_t>();
  return {data, data + host.numel()};
}

}  // namespace

std::vector<std::int32_t> choose_tokens(const at::Tensor& logits, const Sampling& sampling,
                                        const std::vector<double>& uniform) {
  if (sampling.temperature == 0) return on_host(logits.to(at::kFloat).argmax(-1));
  const at::Tensor scaled = logits.to(at::kFloat) / sampling.temperature;
  const bool few = sampling.top_k > 0 && sampling.top_k < scaled.size(1);
  const auto [values, ids] =
      few ? scaled.topk(sampling.top_k, -1) : scaled.sort(/*stable=*/true, -1, /*descending=*/true);
  at::Tensor weights = at::softmax(values, -1);
  if (sampling.top_p < 1) {
    const at::Tensor before = weights.cumsum(-1) - weights;
    // The likeliest token has nothing before it, so it stays whatever p is.
    const at::Tensor dropped = before.ge(sampling.top_p).logical_and(before.gt(0));
    weights = weights.masked_fill(dropped, 0);
  }
  const at::Tensor sums = weights.cumsum(-1);
  const at::Tensor drawn = at::tensor(uniform, at::kFloat).to(sums.device()).unsqueeze(1) *
                           sums.slice(-1, sums.size(-1) - 1);
  // Rounding may take a draw to the sum itself: the last one kept is meant then.
  const at::Tensor last = weights.gt(0).sum(-1, /*keepdim=*/true) - 1;
  const at::Tensor place = at::minimum(sums.le(drawn).sum(-1, /*keepdim=*/true), last);
  return on_host(ids.gather(-1, place).squeeze(-1));
}

}  // namespace corda::model
