// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/spectrum.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "corda/core/error.h"
#include "linalg/backend.h"
#include "linalg/checks.h"
#include "linalg/dense.h"

namespace corda::linalg {

using core::concat;
using core::NumericalError;

namespace {

Spectrum subspace_of(const char* function, const at::Tensor& matrix, std::int64_t r, Which which) {
  check_rank(function, r, std::min(matrix.size(0), matrix.size(1)));
  const double total = at::linalg_norm(matrix).item<double>();
  if (!std::isfinite(total)) {
    throw NumericalError(
        concat("[linalg::", function, "] the matrix ", matrix.sizes(),
               " holds a NaN or an infinity; check the weights and the covariance"));
  }
  Spectrum result = matrix.is_cuda() ? cuda::left_subspace(matrix, r, which)
                                     : cpu::left_subspace(matrix, r, which);
  result.vectors = fix_signs(result.vectors);
  result.total = total;
  return result;
}

}  // namespace

Spectrum left_singular_subspace(const at::Tensor& weight, const at::Tensor& damped, std::int64_t r,
                                Which which) {
  check_layer("left_singular_subspace", weight, damped);
  return subspace_of("left_singular_subspace",
                     at::mm(weight.to(at::kDouble), damped.to(at::kDouble)), r, which);
}

Spectrum svd_top(const at::Tensor& weight, std::int64_t r) {
  check_matrix("svd_top", "the weight", weight);
  return subspace_of("svd_top", weight.to(at::kDouble), r, Which::kLargest);
}

Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r) {
  check_pair("generalised_top", task, knowledge_damped);
  check_rank("generalised_top", r, task.size(0));
  const at::Tensor t = task.to(at::kDouble);
  const at::Tensor k = knowledge_damped.to(at::kDouble);
  if (!std::isfinite(at::linalg_norm(t).item<double>()) ||
      !std::isfinite(at::linalg_norm(k).item<double>())) {
    throw NumericalError(concat("[linalg::generalised_top] a covariance ", task.sizes(),
                                " holds a NaN or an infinity"));
  }
  const at::Tensor lower = cholesky("generalised_top", k);
  // L^-1 C_task L^-T has the same eigenvalues; an eigenvector g of it gives a = L^-T g.
  at::Tensor quotient = solve(lower, solve(lower, t).t());
  quotient = (quotient + quotient.t()).div_(2);
  Spectrum result;
  result.route = "cholesky-eigh";
  result.total = quotient.diagonal().sum().item<double>();
  const Eigenpairs top = t.is_cuda() ? cuda::largest_eigenpairs(std::move(quotient), r)
                                     : cpu::largest_eigenpairs(std::move(quotient), r);
  result.values = top.values;
  result.vectors = fix_signs(solve_transposed(lower, top.vectors));
  return result;
}

}  // namespace corda::linalg
