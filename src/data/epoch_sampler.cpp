// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <numeric>
#include <utility>

#include "corda/core/error.h"
#include "corda/data/batch.h"

namespace corda::data {

EpochSampler::EpochSampler(std::int64_t dataset_size, std::int64_t batch_size, std::uint64_t seed,
                           std::vector<MixturePart> mixture)
    : dataset_size_(dataset_size),
      batch_size_(batch_size),
      seed_(seed),
      mixture_(std::move(mixture)) {
  if (dataset_size < 1 || batch_size < 1) {
    throw core::ConfigError(
        core::concat("an epoch needs at least one sample and a positive batch size; there are ",
                     dataset_size, " samples and batch_size is ", batch_size));
  }
  if (mixture_.empty()) return;
  quotas_ = quotas_of(mixture_, dataset_size);
  dataset_size_ = std::accumulate(quotas_.begin(), quotas_.end(), std::int64_t{0});
}

// The part's samples as an endless sequence of shuffles: the epoch takes the next `quota` of it.
void EpochSampler::add_quota(std::size_t part, std::int64_t epoch) {
  const std::vector<std::int64_t>& samples = mixture_[part].samples;
  const auto size = static_cast<std::int64_t>(samples.size());
  const std::uint64_t seed = core::derive_seed(seed_, ~static_cast<std::uint64_t>(part));
  std::vector<std::int64_t> turn;
  std::int64_t shuffled = -1;
  for (std::int64_t at = epoch * quotas_[part]; at < (epoch + 1) * quotas_[part]; ++at) {
    if (at / size != shuffled) {
      shuffled = at / size;
      turn = samples;
      core::Random random(core::derive_seed(seed, static_cast<std::uint64_t>(shuffled)));
      core::shuffle(turn, random);
    }
    order_.push_back(turn[static_cast<std::size_t>(at % size)]);
  }
}

std::int64_t EpochSampler::steps_per_epoch() const { return (dataset_size_ - 1) / batch_size_ + 1; }

std::vector<std::int64_t> EpochSampler::indices_of(std::int64_t step) {
  if (step < 0)
    throw core::InternalError(
        core::concat("[data::EpochSampler] the step must not be negative; it is ", step));
  const std::int64_t epoch = step / steps_per_epoch();
  if (epoch != shuffled_epoch_) {
    if (mixture_.empty()) {
      order_.resize(static_cast<std::size_t>(dataset_size_));
      std::iota(order_.begin(), order_.end(), std::int64_t{0});
    } else {
      order_.clear();
      for (std::size_t part = 0; part < mixture_.size(); ++part) add_quota(part, epoch);
    }
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
