// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/shared_passes.h"

#include <algorithm>

namespace corda::train {

std::int64_t most_passes(const std::vector<data::Sample>& samples, const TrainSettings& settings,
                         int ranks) {
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> targets;
  for (const data::Sample& sample : samples) {
    sizes.push_back(static_cast<std::int64_t>(sample.ids.size()));
    targets.push_back(data::targets_of(sample));
  }
  std::int64_t most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<std::int64_t> own_sizes;
    std::vector<std::int64_t> own_targets;
    for (const std::size_t i : data::share_of(sizes, rank, ranks)) {
      own_sizes.push_back(sizes[i]);
      own_targets.push_back(targets[i]);
    }
    most = std::max(
        most, data::count_micro_batches(own_sizes, own_targets, settings.optim.micro_batch_tokens,
                                        settings.data.packing));
  }
  return most;
}

data::PackedBatch filler_of(const std::vector<data::Sample>& samples) {
  const data::Sample* shortest = nullptr;
  for (const data::Sample& sample : samples) {
    if (data::targets_of(sample) > 0 &&
        (shortest == nullptr || sample.ids.size() < shortest->ids.size()))
      shortest = &sample;
  }
  data::PackedBatch filler;
  if (shortest != nullptr) data::append(filler, *shortest);
  return filler;
}

}  // namespace corda::train
