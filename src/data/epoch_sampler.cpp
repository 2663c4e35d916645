// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <numeric>

#include "corda/core/error.h"
#include "corda/data/batch.h"

namespace corda::data {

EpochSampler::EpochSampler(std::int64_t dataset_size, std::int64_t batch_size, std::uint64_t seed)
    : dataset_size_(dataset_size), batch_size_(batch_size), seed_(seed) {
  if (dataset_size < 1 || batch_size < 1) {
    throw core::ConfigError(
        core::concat("an epoch needs at least one sample and a positive batch size; there are ",
                     dataset_size, " samples and batch_size is ", batch_size));
  }
}

std::int64_t EpochSampler::steps_per_epoch() const { return (dataset_size_ - 1) / batch_size_ + 1; }

std::vector<std::int64_t> EpochSampler::indices_of(std::int64_t step) {
  if (step < 0)
    throw core::InternalError(
        core::concat("[data::EpochSampler] the step must not be negative; it is ", step));
  const std::int64_t epoch = step / steps_per_epoch();
  if (epoch != shuffled_epoch_) {
    order_.resize(static_cast<std::size_t>(dataset_size_));
    std::iota(order_.begin(), order_.end(), std::int64_t{0});
    core::Random random(core::derive_seed(seed_, static_cast<std::uint64_t>(epoch)));
    core::shuffle(order_, random);
    shuffled_epoch_ = epoch;
  }
  const std::int64_t first = step % steps_per_epoch() * batch_size_;
  const std::int64_t count = std::min(batch_size_, dataset_size_ - first);
  const auto begin = order_.begin() + static_cast<std::ptrdiff_t>(first);
  return {begin, begin + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace corda::data
