// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The matrix of tests/golden/quant/nf4.safetensors, by the formula of scripts/golden/quant.py.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>

namespace corda::testing {

// Uniform in (-0.5, 0.5) by Knuth's hash, times a factor of the row, in bf16; block 3 is zero.
inline at::Tensor formula_matrix(std::int64_t rows, std::int64_t columns) {
  at::Tensor values = at::empty({rows, columns}, at::kFloat);
  auto* to = values.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < rows * columns; ++i) {
    const auto hashed = static_cast<std::uint32_t>(static_cast<std::uint64_t>(i) * 2654435761U);
    const float unit = static_cast<float>(hashed >> 8) * 0x1p-24F - 0.5F;
    to[i] = i / 64 == 3 ? 0.0F : unit * static_cast<float>(i / columns % 7 + 1) * 0.0625F;
  }
  return values.to(at::kBFloat16);
}

}  // namespace corda::testing
