// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which matrix products are alike enough to use one algorithm.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace corda::kernels {

// A size rounded up to its first four binary digits, so that what shares a plan differs by less
// than an eighth.
constexpr std::int64_t size_class(std::int64_t size) {
  const int extra = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size))) - 4;
  if (extra <= 0) return size;
  return ((size + (std::int64_t{1} << extra) - 1) >> extra) << extra;
}

// The kind of a product d [m, n] = a [m, k] b [k, n] + beta c.
struct PlanKey {
  std::int64_t m = 0, n = 0, k = 0;  // classes of sizes
  bool transposed_a = false, transposed_b = false;
  bool fp32_in = false, fp32_out = false;
  bool adds = false;            // beta is not 0
  std::uint32_t alignment = 0;  // the least of all operands, bytes, at most 16
  auto operator<=>(const PlanKey&) const = default;
};

}  // namespace corda::kernels
