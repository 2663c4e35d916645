// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From samples to the batches of an optimizer step: flat, never padded, samples kept apart.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "corda/core/random.h"
#include "corda/data/mixture.h"
#include "corda/data/sample.h"

namespace corda::data {

// Several samples laid end to end. Sample i is the tokens [cu_seqlens[i], cu_seqlens[i + 1]); each
// starts at position 0 and attends only to itself. Row `target_rows[j]` predicts token
// `target_ids[j]`.
struct PackedBatch {
  std::vector<TokenId> ids;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> cu_seqlens = {0};
  std::vector<std::int64_t> target_rows;
  std::vector<std::int64_t> target_ids;

  std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
  std::int64_t sequences() const { return static_cast<std::int64_t>(cu_seqlens.size()) - 1; }
  std::int64_t targets() const { return static_cast<std::int64_t>(target_ids.size()); }
};

void append(PackedBatch& batch, const Sample& sample);
// The targets that `append` makes of a sample: what it supervises behind its first token.
std::int64_t targets_of(const Sample& sample);
// All ids as one unsupervised sequence.
void append(PackedBatch& batch, std::span<const TokenId> ids);

// Splits the samples of one optimizer step into micro-batches of at most `micro_batch_tokens`
// tokens each (a longer sample gets one of its own), longest first so that few are part-empty; with
// `packing` false every sample is a micro-batch of its own. Deterministic.
std::vector<PackedBatch> make_micro_batches(std::span<const Sample* const> samples,
                                            std::int64_t micro_batch_tokens, bool packing);

// How many of the micro-batches that `make_micro_batches` makes of samples of these lengths have a
// target; `targets` are the samples' own.
std::int64_t count_micro_batches(std::span<const std::int64_t> lengths,
                                 std::span<const std::int64_t> targets,
                                 std::int64_t micro_batch_tokens, bool packing);

// Deals items of these sizes (tokens) out to `ranks` so that every rank has about as much, the
// largest first to whoever has least; gives the indices of `rank`'s, ascending. A rank may get
// none.
std::vector<std::size_t> share_of(std::span<const std::int64_t> sizes, int rank, int ranks);

// Draws the samples of each optimizer step: every epoch is a fresh shuffle that depends on the seed
// and the epoch alone, so the position (epoch, offset) is the whole state.
// Of a mixture each part gives an epoch its quota (`quotas_of` the data set's size): its samples
// one after the other in a shuffled order, shuffled anew when all have had their turn, going on in
// the next epoch where this one stopped. So none comes a second time before all have come once.
class EpochSampler {
 public:
  EpochSampler(std::int64_t dataset_size, std::int64_t batch_size, std::uint64_t seed,
               std::vector<MixturePart> mixture = {});

  std::int64_t steps_per_epoch() const;  // the last batch of an epoch may be smaller
  // The dataset indices of step `step` (from 0, over all epochs).
  std::vector<std::int64_t> indices_of(std::int64_t step);

 private:
  void add_quota(std::size_t part, std::int64_t epoch);

  std::int64_t dataset_size_;  // of a mixture the samples of an epoch
  std::int64_t batch_size_;
  std::uint64_t seed_;
  std::vector<MixturePart> mixture_;
  std::vector<std::int64_t> quotas_;
  std::int64_t shuffled_epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace corda::data
