// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/split.h"

#include <ATen/ATen.h>

#include <cstddef>

#include "linalg/gram.h"

namespace corda::linalg {

namespace {

// A third piece would be smaller than what tensor cores cut off their sums (split.h).
constexpr std::size_t kMostPieces = 2;

// Takes bf16 or fp32, sums in fp32 and returns fp32.
at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() == at::kFloat) return at::mm(a, b);
  return a.is_cuda() ? at::mm(a, b, at::kFloat) : at::mm(a.to(at::kFloat), b.to(at::kFloat));
}

void add(at::Tensor& sum, at::Tensor term) {
  if (sum.defined()) {
    sum.add_(term);
  } else {
    sum = std::move(term);
  }
}

}  // namespace

Pieces bf16_pieces_of(const at::Tensor& matrix) {
  if (matrix.scalar_type() == at::kBFloat16) return {matrix};
  const at::Tensor single = matrix.to(at::kFloat);
  const at::Tensor high = single.to(at::kBFloat16);
  return {high, (single - high).to(at::kBFloat16)};
}

Pieces pieces_of(const at::Tensor& matrix) {
  if (matrix.is_cuda()) return bf16_pieces_of(matrix);
  return {matrix.to(at::kFloat)};
}

at::Tensor multiply(const Pieces& a, const Pieces& b) {
  at::Tensor sum;
  // The smallest products are added first.
  for (std::size_t order = kMostPieces; order-- > 0;) {
    for (std::size_t i = 0; i <= order; ++i) {
      if (i < a.size() && order - i < b.size()) add(sum, product(a[i], b[order - i]));
    }
  }
  return sum;
}

at::Tensor multiply_by_transpose(const Pieces& a) {
  if (a.size() == 1 && a[0].scalar_type() == at::kFloat) return gram_of_rows(a[0]);
  // This is half of the sum over pieces, without the terms that its transpose has; halving is
  // exact.
  at::Tensor sum;
  for (std::size_t order = kMostPieces; order-- > 0;) {
    for (std::size_t i = 0; 2 * i <= order; ++i) {
      const std::size_t j = order - i;
      if (j >= a.size()) continue;
      add(sum, product(a[i], (i == j ? a[j] * 0.5 : a[j]).t()));
    }
  }
  return sum + sum.t();
}

}  // namespace corda::linalg
