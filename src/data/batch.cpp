// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/batch.h"

#include <algorithm>
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

// First fit, longest first.
std::vector<PackedBatch> make_micro_batches(std::span<const Sample* const> samples,
                                            std::int64_t micro_batch_tokens, bool packing) {
  if (micro_batch_tokens < 1) {
    throw core::ConfigError(
        core::concat("micro_batch_tokens must be positive; it is ", micro_batch_tokens));
  }
  std::vector<const Sample*> order(samples.begin(), samples.end());
  std::erase_if(order, [](const Sample* sample) { return sample->ids.empty(); });
  std::stable_sort(order.begin(), order.end(),
                   [](const Sample* a, const Sample* b) { return length_of(*a) > length_of(*b); });
  std::vector<PackedBatch> batches;
  for (const Sample* sample : order) {
    auto home = batches.end();
    if (packing) {
      home = std::find_if(batches.begin(), batches.end(), [&](const PackedBatch& batch) {
        return batch.tokens() + length_of(*sample) <= micro_batch_tokens;
      });
    }
    if (home == batches.end()) home = batches.insert(home, PackedBatch{});
    append(*home, *sample);
  }
  return batches;
}

}  // namespace corda::data
