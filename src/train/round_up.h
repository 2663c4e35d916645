// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sizes in steps.
#pragma once

#include <cstdint>

namespace corda::train {

// The next multiple of `step` (above 0) from `size` (not negative) on.
constexpr std::int64_t round_up(std::int64_t size, std::int64_t step) {
  return (size + step - 1) / step * step;
}

}  // namespace corda::train
