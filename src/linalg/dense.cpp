// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/dense.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"

namespace corda::linalg {

using core::concat;
using core::NumericalError;

at::Tensor cholesky(const char* what, const at::Tensor& matrix) {
  const auto [lower, info] = at::linalg_cholesky_ex(matrix);
  if (const int status = info.item<int>(); status != 0) {
    throw NumericalError(concat(what, " ", matrix.sizes(),
                                " is not positive definite (potrf gave info ", status,
                                "); raise the damping"));
  }
  return lower;
}

at::Tensor solve(const at::Tensor& lower, const at::Tensor& b) {
  return at::linalg_solve_triangular(lower, b, /*upper=*/false);
}

at::Tensor solve_transposed(const at::Tensor& lower, const at::Tensor& b) {
  return at::linalg_solve_triangular(lower.t(), b, /*upper=*/true);
}

namespace {

template <typename Solve>
auto solved(const at::Tensor& matrix, Solve solve_it) {
  try {
    return solve_it();
  } catch (const c10::LinAlgError& error) {
    throw NumericalError(concat("the eigenpairs were not found: syevd failed on a matrix ",
                                matrix.sizes(), ": ", error.what_without_backtrace()));
  }
}

}  // namespace

Eigenpairs eigenpairs(const at::Tensor& matrix) {
  auto [values, vectors] = solved(matrix, [&] { return at::linalg_eigh(matrix); });
  return {std::move(values), std::move(vectors)};
}

at::Tensor eigenvalues(const at::Tensor& matrix) {
  return solved(matrix, [&] { return at::linalg_eigvalsh(matrix); });
}

}  // namespace corda::linalg
