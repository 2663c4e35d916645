// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One named generator for every shuffle and draw, so that a seed means the same on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace corda::core {

// xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. The state is four words that
// can be saved and restored; the sequence depends on nothing else.
class Random {
 public:
  using State = std::array<std::uint64_t, 4>;

  explicit Random(std::uint64_t seed);
  explicit Random(const State& state) : state_(state) {}

  std::uint64_t next();
  // Uniform in [0, bound), without modulo bias (Lemire 2019). `bound` must be positive.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1) with 53 random bits.
  double uniform();
  const State& state() const { return state_; }

 private:
  State state_;
};

// A seed for one of several independent streams of a run ("data", "dropout"...).
std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t stream);

// Fisher-Yates.
template <typename T>
void shuffle(std::vector<T>& values, Random& random) {
  for (std::size_t i = values.size(); i > 1; --i) {
    std::swap(values[i - 1], values[static_cast<std::size_t>(random.below(i))]);
  }
}

}  // namespace corda::core
