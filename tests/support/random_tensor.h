// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Tensors that are the same on every machine.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

#include "corda/core/random.h"

namespace corda::testing {

// fp32, uniform between center - spread and center + spread.
inline at::Tensor random_tensor(at::IntArrayRef shape, core::Random& random, double center = 0,
                                double spread = 1) {
  at::Tensor result = at::empty(shape, at::kFloat);
  auto* values = result.data_ptr<float>();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    values[i] = static_cast<float>(center + spread * (2 * random.uniform() - 1));
  return result;
}

inline at::Tensor random_tensor(at::IntArrayRef shape, std::uint64_t seed) {
  core::Random random(seed);
  return random_tensor(shape, random);
}

}  // namespace corda::testing
