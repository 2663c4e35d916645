// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/batch.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "corda/core/checked.h"
#include "corda/core/error.h"

namespace corda::data {

namespace {

std::int64_t length_of(const Sample& sample) {
  return static_cast<std::int64_t>(sample.ids.size());
}

}  // namespace

void append(PackedBatch& batch, std::span<const TokenId> ids) {
  if (ids.empty()) return;
  const auto length = static_cast<std::int64_t>(ids.size());
  const auto end = core::narrow<std::int32_t>(batch.tokens() + length);
  batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
  for (std::int64_t t = 0; t < length; ++t) batch.positions.push_back(static_cast<std::int32_t>(t));
  batch.cu_seqlens.push_back(end);
}

void append(PackedBatch& batch, const Sample& sample) {
  if (sample.ids.size() != sample.supervised.size()) {
    throw core::InternalError(
        core::concat("[data::append] a sample must have one mask entry a token; it has ",
                     sample.ids.size(), " tokens and ", sample.supervised.size(), " entries"));
  }
  const std::int64_t begin = batch.tokens();
  append(batch, std::span<const TokenId>(sample.ids));
  // The first token has no row of its own sample before it, so it is no target whatever its mask
  // says.
  for (std::size_t t = 1; t < sample.ids.size(); ++t) {
    if (sample.supervised[t] == 0) continue;
    batch.target_rows.push_back(begin + static_cast<std::int64_t>(t) - 1);
    batch.target_ids.push_back(sample.ids[t]);
  }
}

std::int64_t targets_of(const Sample& sample) {
  return std::count_if(sample.supervised.begin() + (sample.supervised.empty() ? 0 : 1),
                       sample.supervised.end(), [](std::uint8_t mark) { return mark != 0; });
}

namespace {

// Decides which samples of these lengths share a micro-batch, by first fit with the longest first.
std::vector<std::vector<std::size_t>> pack(std::span<const std::int64_t> lengths,
                                           std::int64_t micro_batch_tokens, bool packing) {
  if (micro_batch_tokens < 1) {
    throw core::ConfigError(
        core::concat("micro_batch_tokens must be positive; it is ", micro_batch_tokens));
  }
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < lengths.size(); ++i)
    if (lengths[i] > 0) order.push_back(i);
  std::ranges::stable_sort(order, std::greater(), [&](std::size_t i) { return lengths[i]; });
  std::vector<std::vector<std::size_t>> batches;
  std::vector<std::int64_t> tokens;
  for (const std::size_t i : order) {
    auto home = tokens.end();
    if (packing) {
      home = std::ranges::find_if(
          tokens, [&](std::int64_t taken) { return taken + lengths[i] <= micro_batch_tokens; });
    }
    if (home == tokens.end()) {
      batches.emplace_back();
      home = tokens.insert(home, 0);
    }
    *home += lengths[i];
    batches[static_cast<std::size_t>(home - tokens.begin())].push_back(i);
  }
  return batches;
}

}  // namespace

std::vector<PackedBatch> make_micro_batches(std::span<const Sample* const> samples,
                                            std::int64_t micro_batch_tokens, bool packing) {
  std::vector<std::int64_t> lengths;
  for (const Sample* sample : samples) lengths.push_back(length_of(*sample));
  std::vector<PackedBatch> batches;
  for (const auto& members : pack(lengths, micro_batch_tokens, packing)) {
    PackedBatch& batch = batches.emplace_back();
    for (const std::size_t i : members) append(batch, *samples[i]);
  }
  return batches;
}

std::int64_t count_micro_batches(std::span<const std::int64_t> lengths,
                                 std::span<const std::int64_t> targets,
                                 std::int64_t micro_batch_tokens, bool packing) {
  return std::ranges::count_if(
      pack(lengths, micro_batch_tokens, packing), [&](const std::vector<std::size_t>& members) {
        return std::ranges::any_of(members, [&](std::size_t i) { return targets[i] > 0; });
      });
}

}  // namespace corda::data
