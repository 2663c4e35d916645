// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/generate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <optional>

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

// Whether the next token makes a sequence long enough for other rotary frequencies, so that the
// keys stored before it were turned by the wrong ones.
bool frequencies_change(const ModelDescription& model, std::int64_t length) {
  return std::any_of(model.rotaries.begin(), model.rotaries.end(), [&](const auto& rope) {
    return rope.type == RopeType::kLongrope && length == rope.original_positions;
  });
}

// Sequences that grow by one token each at a time.
class Continuation {
 public:
  Continuation(const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
               std::int64_t new_tokens)
      : model_(model), sequences_(prompts) {
    std::size_t longest = 0;
    for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
    capacity_ = static_cast<std::int64_t>(longest) + new_tokens;
  }

  // The likeliest token behind each sequence as it is now.
  std::vector<std::int32_t> start() {
    const Batch batch = pack(model_, sequences_);
    const AttentionDescription& shape = model_.config.attention;
    cache_.emplace(model_.config.num_layers(), batch.sequences(), shape.kv_heads, capacity_,
                   shape.head_dim, model_.embedding.options().dtype(model_.compute));
    KeyValueCache::Prefill prefill(*cache_, batch);
    const at::Tensor hidden = forward_hidden(model_, batch, prefill);
    std::vector<std::int64_t> lengths;
    for (const auto& sequence : sequences_)
      lengths.push_back(static_cast<std::int64_t>(sequence.size()));
    cache_->advance(lengths);
    return argmax_ids(model_,
                      hidden.index_select(0, batch.cu_seqlens.slice(0, 1).to(at::kLong) - 1));
  }

  // Appends a token to each sequence; the likeliest tokens behind those.
  std::vector<std::int32_t> next(const std::vector<std::int32_t>& tokens) {
    bool anew = false;
    std::vector<std::int32_t> positions;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      anew |= frequencies_change(model_.config, static_cast<std::int64_t>(sequences_[i].size()));
      positions.push_back(static_cast<std::int32_t>(sequences_[i].size()));
      sequences_[i].push_back(tokens[i]);
    }
    if (anew) return start();
    std::vector<std::int32_t> offsets(tokens.size() + 1);
    std::iota(offsets.begin(), offsets.end(), 0);
    const Batch one =
        make_batch(tokens, positions, offsets, model_.config.vocab_size, model_.device());
    KeyValueCache::Decode decode(*cache_);
    auto likeliest = argmax_ids(model_, forward_hidden(model_, one, decode));
    cache_->advance(std::vector<std::int64_t>(tokens.size(), 1));
    return likeliest;
  }

 private:
  const Model& model_;
  std::vector<std::vector<std::int32_t>> sequences_;
  std::int64_t capacity_ = 0;
  std::optional<KeyValueCache> cache_;
};

}  // namespace

std::vector<std::vector<std::int32_t>> generate_greedy(
    const Model& model, const std::vector<std::vector<std::int32_t>>& prompts,
    const GenerateOptions& options) {
  std::vector<std::vector<std::int32_t>> generated(prompts.size());
  if (prompts.empty() || options.max_new_tokens == 0) return generated;
  const at::NoGradGuard no_grad;
  Continuation continuation(model, prompts, options.max_new_tokens);
  std::vector<std::int32_t> next = continuation.start();
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
    next = continuation.next(next);
  }
}

}  // namespace corda::model
