// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which matrix products are alike enough to use one algorithm.
#pragma once

#include <compare>
#include <cstdint>

namespace corda::kernels {

// The kind of a product d [m, n] = a [m, k] b [k, n] + beta c.
struct PlanKey {
  std::int64_t m = 0, n = 0, k = 0;  // core::size_class of them
  bool transposed_a = false, transposed_b = false;
  bool fp32_in = false, fp32_out = false;
  bool adds = false;            // beta is not 0
  std::uint32_t alignment = 0;  // the least of all operands, bytes, at most 16
  auto operator<=>(const PlanKey&) const = default;
};

}  // namespace corda::kernels
