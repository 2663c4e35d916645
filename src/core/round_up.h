// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sizes rounded up, so that few different ones occur.
#pragma once

#include <bit>
#include <cstdint>

namespace corda::core {

// The next multiple of `step` (above 0) from `size` (not negative) on.
constexpr std::int64_t round_up(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

// The next number of four binary digits and zeros from `size` (not negative) on; sizes that become
// one differ by less than an eighth.
constexpr std::int64_t size_class(std::int64_t size) {
  const int extra = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size))) - 4;
  return extra > 0 ? round_up(size, std::int64_t{1} << extra) : size;
}

}  // namespace corda::core
