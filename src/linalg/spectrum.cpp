// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/spectrum.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "corda/core/error.h"
#include "linalg/backend.h"
#include "linalg/certificate.h"
#include "linalg/checks.h"
#include "linalg/dense.h"
#include "linalg/gram.h"

namespace corda::linalg {

using core::concat;
using core::NumericalError;

namespace {

// Throws where a factorisation failed without saying so.
const Spectrum& checked(const Spectrum& found, const at::Tensor& matrix) {
  if (is_finite(found)) return found;
  throw NumericalError(concat("the factorisation (", found.route, ") of a matrix ", matrix.sizes(),
                              " gave numbers that are not finite"));
}

Spectrum subspace_of(const at::Tensor& matrix, std::int64_t r, Which which) {
  check_rank(r, std::min(matrix.size(0), matrix.size(1)));
  Spectrum result = matrix.is_cuda() ? cuda::left_subspace(matrix, r, which)
                                     : cpu::left_subspace(matrix, r, which);
  result.vectors = fix_signs(result.vectors);
  result.total = at::linalg_norm(matrix).item<double>();
  return checked(result, matrix);
}

}  // namespace

Spectrum left_singular_subspace(const at::Tensor& weight, const at::Tensor& damped, std::int64_t r,
                                Which which) {
  check_layer(weight, damped);
  check_finite("the weight", weight);
  check_finite("the covariance", damped);
  return subspace_of(at::mm(weight.to(at::kDouble), damped.to(at::kDouble)), r, which);
}

Spectrum svd_top(const at::Tensor& weight, std::int64_t r) {
  check_matrix("the weight", weight);
  check_finite("the weight", weight);
  return subspace_of(weight.to(at::kDouble), r, Which::kLargest);
}

Spectrum svd_bottom(const at::Tensor& weight, std::int64_t r) {
  check_matrix("the weight", weight);
  check_finite("the weight", weight);
  return subspace_of(weight.to(at::kDouble), r, Which::kSmallest);
}

Spectrum eigenvectors(const at::Tensor& matrix, std::int64_t r, Which which) {
  check_square("the matrix", matrix);
  check_rank(r, matrix.size(0));
  check_finite("the matrix", matrix);
  const at::Tensor whole = matrix.to(at::kDouble);
  // The smallest eigenvalues are the largest ones of the negated matrix.
  const double sign = which == Which::kLargest ? 1 : -1;
  at::Tensor signed_matrix = (whole + whole.t()).mul_(sign / 2);
  const Eigenpairs found = whole.is_cuda() ? cuda::largest_eigenpairs(std::move(signed_matrix), r)
                                           : cpu::largest_eigenpairs(std::move(signed_matrix), r);
  Spectrum result;
  result.route = "eigh";
  result.total = whole.diagonal().sum().item<double>();
  result.values = found.values * sign;
  result.vectors = fix_signs(found.vectors);
  return checked(result, matrix);
}

SingularValues singular_values(const at::Tensor& weight, const at::Tensor& damped) {
  check_layer(weight, damped);
  check_finite("the weight", weight);
  const at::Tensor product = at::mm(weight.to(at::kDouble), damped.to(at::kDouble));
  const at::Tensor gram =
      product.size(0) < product.size(1) ? gram_of_rows(product) : gram_of_columns(product);
  const at::Tensor values = eigenvalues(gram).clamp_min(0).sqrt();
  return {.sum = values.sum().item<double>(), .largest = values.max().item<double>()};
}

Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r) {
  check_pair(task, knowledge_damped);
  check_rank(r, task.size(0));
  check_finite("the task covariance", task);
  check_finite("the knowledge covariance", knowledge_damped);
  const at::Tensor t = task.to(at::kDouble);
  const at::Tensor k = knowledge_damped.to(at::kDouble);
  const at::Tensor lower = cholesky("the knowledge covariance", k);
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
  return checked(result, task);
}

}  // namespace corda::linalg
