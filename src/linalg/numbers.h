// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Numbers that look random and are the same on every device and in every run.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::linalg {

// Uniform numbers in [-1, 1): [rows, columns], fp64.
at::Tensor scrambled(std::int64_t rows, std::int64_t columns, std::int64_t seed, at::Device device);

// Standard normal (Box and Muller 1958): [rows, columns], fp64.
at::Tensor normal_numbers(std::int64_t rows, std::int64_t columns, std::int64_t seed,
                          at::Device device);

}  // namespace corda::linalg
