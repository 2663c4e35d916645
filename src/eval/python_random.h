// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The draws of Python's `random.Random`, by which lm-evaluation-harness chooses examples.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace corda::eval {

// MT19937 (Matsumoto and Nishimura 1998), seeded as CPython seeds it from an integer.
class PythonRandom {
 public:
  explicit PythonRandom(std::uint32_t seed);

  std::uint32_t next();
  // Uniform in [0, bound), which is positive, as `randrange(bound)`.
  std::uint32_t below(std::uint32_t bound);
  // The places that `sample(range(size), count)` gives; count is at most size.
  std::vector<std::size_t> sample(std::size_t size, std::size_t count);

 private:
  void twist();

  static constexpr std::size_t kWords = 624;
  std::array<std::uint32_t, kWords> state_{};
  std::size_t used_ = kWords;
};

}  // namespace corda::eval
