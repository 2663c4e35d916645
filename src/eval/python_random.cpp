// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/python_random.h"

#include <bit>
#include <numeric>
#include <set>

namespace corda::eval {

namespace {

// Above this many places CPython remembers which it drew instead of listing all of them.
std::size_t listed_up_to(std::size_t count) {
  std::size_t limit = 21;
  if (count > 5) {
    std::size_t power = 1;  // of four, not below 3 count
    while (power < 3 * count) power *= 4;
    limit += power;
  }
  return limit;
}

}  // namespace

PythonRandom::PythonRandom(std::uint32_t seed) {
  // init_by_array of one key, over a state that init_genrand(19650218) has made.
  state_[0] = 19650218U;
  for (std::size_t i = 1; i < kWords; ++i) {
    state_[i] =
        1812433253U * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<std::uint32_t>(i);
  }
  std::size_t i = 1;
  const auto advance = [&] {
    if (++i < kWords) return;
    state_[0] = state_[kWords - 1];
    i = 1;
  };
  for (std::size_t k = 0; k < kWords; ++k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525U)) + seed;
    advance();
  }
  for (std::size_t k = 0; k + 1 < kWords; ++k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941U)) -
                static_cast<std::uint32_t>(i);
    advance();
  }
  state_[0] = 0x80000000U;
}

void PythonRandom::twist() {
  for (std::size_t i = 0; i < kWords; ++i) {
    const std::uint32_t y = (state_[i] & 0x80000000U) | (state_[(i + 1) % kWords] & 0x7fffffffU);
    state_[i] = state_[(i + 397) % kWords] ^ (y >> 1) ^ ((y & 1U) != 0 ? 0x9908b0dfU : 0U);
  }
  used_ = 0;
}

std::uint32_t PythonRandom::next() {
  if (used_ == kWords) twist();
  std::uint32_t y = state_[used_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680U;
  y ^= (y << 15) & 0xefc60000U;
  return y ^ (y >> 18);
}

std::uint32_t PythonRandom::below(std::uint32_t bound) {
  const int bits = std::bit_width(bound);
  std::uint32_t drawn = next() >> (32 - bits);
  while (drawn >= bound) drawn = next() >> (32 - bits);
  return drawn;
}

std::vector<std::size_t> PythonRandom::sample(std::size_t size, std::size_t count) {
  std::vector<std::size_t> drawn;
  if (size <= listed_up_to(count)) {
    std::vector<std::size_t> pool(size);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = below(static_cast<std::uint32_t>(size - i));
      drawn.push_back(pool[place]);
      pool[place] = pool[size - i - 1];
    }
    return drawn;
  }
  std::set<std::size_t> seen;
  while (drawn.size() < count) {
    const std::size_t place = below(static_cast<std::uint32_t>(size));
    if (seen.insert(place).second) drawn.push_back(place);
  }
  return drawn;
}

}  // namespace corda::eval
