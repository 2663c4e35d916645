// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/orthonormal.h"

#include <ATen/ATen.h>

#include <limits>

namespace corda::linalg {

std::optional<at::Tensor> orthonormal(const at::Tensor& z) {
  // The shift is this share of the Gram matrix's trace (the number of columns, whose length is
  // one): 450 eps. It lets the first pass go through where rounding leaves nearly dependent columns
  // no positive pivot, at the price of orthogonality: a larger one costs more of it, a smaller one
  // fails.
  constexpr double kShift = 1e-13;
  // The passes are the shifted one, one that restores orthogonality, and one that brings it to
  // rounding, as in shifted Cholesky QR 3 (Fukaya et al. 2020).
  constexpr int kPasses = 3;
  const at::Tensor norms = at::linalg_vector_norm(z, 2, at::IntArrayRef{0});
  at::Tensor q = z / norms.clamp_min(std::numeric_limits<double>::min());
  at::Tensor failures;
  for (int pass = 0; pass < kPasses; ++pass) {
    at::Tensor gram = at::mm(q.t(), q);
    if (pass == 0) gram.diagonal().add_(kShift * static_cast<double>(z.size(1)));
    const auto [lower, info] = at::linalg_cholesky_ex(gram);
    // All passes are judged at the end: a look at each would make the GPU wait for the host.
    failures = failures.defined() ? failures + info.abs() : info.abs();
    q = at::linalg_solve_triangular(lower, q.t(), /*upper=*/false).t();
  }
  if (failures.item<int>() != 0) return std::nullopt;
  return q;
}

}  // namespace corda::linalg
