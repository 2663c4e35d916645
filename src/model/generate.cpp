// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "corda/core/error.h"
#include "corda/model/forward.h"

namespace corda::model {

namespace {

std::vector<std::int32_t> argmax_ids(const Model& model, const at::Tensor& hidden) {
  const at::Tensor ids =
      logits_of(model, hidden).to(at::kFloat).argmax(-1).to(at::kCPU, at::kInt).contiguous();
  const auto* data = ids.const_data_ptr<std::int32_t>();
  return {data, data + ids.numel()};
}

Batch pack(const Model& model, const std::vector<std::vector<std::int32_t>>& sequences) {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> offsets = {0};
  for (const auto& sequence : sequences) {
    if (sequence.empty())
      throw core::ConfigError("a prompt to continue must hold at least one token");
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    for (std::size_t i = 0; i < sequence.size(); ++i)
      positions.push_back(static_cast<std::int32_t>(i));
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return make_batch(ids, positions, offsets, model.config.vocab_size, model.device());
}

}  // namespace

std::vector<std::vector<std::int32_t>> generate_greedy(
    const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
    const GenerateOptions& options) {
  std::vector<std::vector<std::int32_t>> generated(prompts.size());
  if (prompts.empty() || options.max_new_tokens == 0) return generated;
  const at::NoGradGuard no_grad;
  const Batch batch = pack(model, prompts);
  const auto count = static_cast<std::int64_t>(prompts.size());
  KeyValueCache cache(model.config.num_layers(), count, model.config.attention.kv_heads,
                      batch.longest + options.max_new_tokens, model.config.attention.head_dim,
                      model.embedding.options().dtype(model.compute));
  KeyValueCache::Prefill prefill(cache, batch);
  const at::Tensor hidden = forward_hidden(model, batch, prefill);
  std::vector<std::int64_t> lengths;
  for (const auto& prompt : prompts) lengths.push_back(static_cast<std::int64_t>(prompt.size()));
  cache.advance(lengths);
  const at::Tensor last = batch.cu_seqlens.slice(0, 1).to(at::kLong) - 1;
  std::vector<std::int32_t> next = argmax_ids(model, hidden.index_select(0, last));

  std::vector<bool> finished(prompts.size(), false);
  for (std::int64_t step = 0;; ++step) {
    for (std::size_t i = 0; i < next.size(); ++i) {
      if (finished[i]) continue;
      const bool stop = std::find(options.stop_ids.begin(), options.stop_ids.end(), next[i]) !=
                        options.stop_ids.end();
      if (!stop) generated[i].push_back(next[i]);
      finished[i] = stop || (options.stop_when && options.stop_when(generated[i]));
    }
    const bool done = std::all_of(finished.begin(), finished.end(), [](bool f) { return f; });
    if (done || step + 1 >= options.max_new_tokens) return generated;
    std::vector<std::int32_t> positions(lengths.begin(), lengths.end());
    std::vector<std::int32_t> offsets(next.size() + 1);
    std::iota(offsets.begin(), offsets.end(), 0);
    const Batch one = make_batch(next, positions, offsets, model.config.vocab_size, model.device());
    KeyValueCache::Decode decode(cache);
    next = argmax_ids(model, forward_hidden(model, one, decode));
    cache.advance(std::vector<std::int64_t>(next.size(), 1));
    for (auto& length : lengths) ++length;
  }
}

}  // namespace corda::model
