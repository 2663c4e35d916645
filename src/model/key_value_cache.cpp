// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/key_value_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "core/round_up.h"

namespace corda::model {

KeyValueCache::KeyValueCache(const ModelDescription& model, std::int64_t rows,
                             at::TensorOptions options)
    : rows_(core::round_up(rows, kBlock)) {
  const AttentionDescription& shape = model.attention;
  for (std::int64_t layer = 0; layer < model.num_layers(); ++layer) {
    keys_.push_back(at::empty({rows_, shape.kv_heads, shape.head_dim}, options));
    values_.push_back(at::empty({rows_, shape.kv_heads, shape.head_dim}, options));
  }
}

std::optional<std::int64_t> KeyValueCache::find_gap(std::int64_t room) const {
  std::int64_t begin = 0;
  for (const auto& [first, behind] : occupied_) {
    if (first - begin >= room) return begin;
    begin = behind;
  }
  return rows_ - begin >= room ? std::optional(begin) : std::nullopt;
}

std::optional<std::int64_t> KeyValueCache::add(std::int64_t room) {
  room = core::round_up(room, kBlock);
  const auto begin = find_gap(room);
  if (!begin) return std::nullopt;
  occupied_[*begin] = *begin + room;
  runs_[next_] = {.begin = *begin, .room = room, .used = 0};
  return next_++;
}

bool KeyValueCache::grow(std::int64_t sequence, std::int64_t room) {
  Run& run = runs_.at(sequence);
  room = core::round_up(room, kBlock);
  if (room <= run.room) return true;
  const auto next = occupied_.upper_bound(run.begin);
  const std::int64_t limit = next == occupied_.end() ? rows_ : next->first;
  if (limit - run.begin < room) {
    const auto begin = find_gap(room);
    if (!begin) return false;
    for (const auto* layers : {&keys_, &values_}) {
      for (const at::Tensor& rows : *layers) {
        rows.slice(0, *begin, *begin + run.used)
            .copy_(rows.slice(0, run.begin, run.begin + run.used));
      }
    }
    occupied_.erase(run.begin);
    run.begin = *begin;
  }
  run.room = room;
  occupied_[run.begin] = run.begin + room;
  return true;
}

void KeyValueCache::remove(std::int64_t sequence) {
  occupied_.erase(runs_.at(sequence).begin);
  runs_.erase(sequence);
}

void KeyValueCache::cut(std::int64_t sequence, std::int64_t length) {
  Run& run = runs_.at(sequence);
  run.used = std::min(run.used, length);
}

KeyValueCache::Extend::Extend(KeyValueCache& cache, const Batch& batch,
                              std::vector<std::int64_t> sequences)
    : cache_(cache), sequences_(std::move(sequences)) {
  std::vector<std::int64_t> rows;
  rows.reserve(static_cast<std::size_t>(batch.tokens()));
  spans_.queries = batch.offsets;
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    const Run& run = cache_.runs_.at(sequences_[i]);
    const std::int64_t count = batch.offsets[i + 1] - batch.offsets[i];
    spans_.first_keys.push_back(static_cast<std::int32_t>(run.begin));
    spans_.lengths.push_back(static_cast<std::int32_t>(run.used + count));
    for (std::int64_t t = 0; t < count; ++t) rows.push_back(run.begin + run.used + t);
  }
  complete(spans_, batch.ids.device());
  rows_ = at::tensor(rows, at::kLong).to(batch.ids.device());
}

at::Tensor KeyValueCache::Extend::attend(std::int64_t layer, const AttentionRule& rule,
                                         const at::Tensor& q, const at::Tensor& k,
                                         const at::Tensor& v) {
  at::Tensor& keys = cache_.keys_[static_cast<std::size_t>(layer)];
  at::Tensor& values = cache_.values_[static_cast<std::size_t>(layer)];
  keys.index_copy_(0, rows_, k);
  values.index_copy_(0, rows_, v);
  return attend_spans(spans_, rule, q, keys, values);
}

void KeyValueCache::Extend::done() {
  for (std::size_t i = 0; i < sequences_.size(); ++i) {
    Run& run = cache_.runs_.at(sequences_[i]);
    run.used = spans_.lengths[i];
  }
}

}  // namespace corda::model
