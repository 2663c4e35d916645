// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/spectrum.h"

#include <ATen/ATen.h>

#include <cmath>

#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg {

using core::concat;
using core::NumericalError;
using core::ShapeError;

namespace {

std::string size_text(const at::Tensor& matrix) { return concat(matrix.sizes()); }

void check_matrix(const char* function, const char* what, const at::Tensor& matrix) {
  if (matrix.dim() != 2 || matrix.size(0) == 0 || matrix.size(1) == 0) {
    throw ShapeError(concat("[linalg::", function, "] ", what,
                            " must be a non-empty matrix; it is ", size_text(matrix)));
  }
}

void check_square(const char* function, const char* what, const at::Tensor& matrix) {
  check_matrix(function, what, matrix);
  if (matrix.size(0) != matrix.size(1)) {
    throw ShapeError(
        concat("[linalg::", function, "] ", what, " must be square; it is ", size_text(matrix)));
  }
}

void check_rank(const char* function, std::int64_t r, std::int64_t limit) {
  if (r < 1 || r > limit) {
    throw ShapeError(
        concat("[linalg::", function, "] the rank must lie between 1 and ", limit, "; it is ", r));
  }
}

// Makes each column's entry of largest magnitude positive.
at::Tensor fix_signs(const at::Tensor& vectors) {
  const at::Tensor largest = vectors.gather(0, vectors.abs().argmax(0, /*keepdim=*/true));
  return vectors * at::where(largest < 0, -at::ones_like(largest), at::ones_like(largest));
}

Spectrum subspace_of(const char* function, const at::Tensor& matrix, std::int64_t r, Which which) {
  check_rank(function, r, std::min(matrix.size(0), matrix.size(1)));
  const double total = at::linalg_norm(matrix).item<double>();
  if (!std::isfinite(total)) {
    throw NumericalError(
        concat("[linalg::", function, "] the matrix ", size_text(matrix),
               " holds a NaN or an infinity; check the weights and the covariance"));
  }
  Spectrum result = matrix.is_cuda() ? cuda::left_subspace(matrix, r, which)
                                     : cpu::left_subspace(matrix, r, which);
  result.vectors = fix_signs(result.vectors);
  result.total = total;
  return result;
}

}  // namespace

at::Tensor damp(const at::Tensor& covariance, double damping) {
  check_square("damp", "the covariance", covariance);
  at::Tensor damped = covariance.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  const double mean = damped.diagonal().mean().item<double>();
  const double norm = at::linalg_norm(damped).item<double>();
  if (!std::isfinite(norm) || !(mean > 0)) {
    throw NumericalError(concat("[linalg::damp] the covariance ", size_text(covariance),
                                " must be finite with a positive diagonal; its mean diagonal is ",
                                mean, ", its norm ", norm));
  }
  damped.diagonal().add_(damping * mean);
  return damped;
}

Spectrum left_singular_subspace(const at::Tensor& weight, const at::Tensor& damped, std::int64_t r,
                                Which which) {
  check_matrix("left_singular_subspace", "the weight", weight);
  check_square("left_singular_subspace", "the covariance", damped);
  if (weight.size(1) != damped.size(0)) {
    throw ShapeError(concat("[linalg::left_singular_subspace] the weight is ", size_text(weight),
                            ", so the covariance must be [", weight.size(1), ", ", weight.size(1),
                            "]; it is ", size_text(damped)));
  }
  return subspace_of("left_singular_subspace",
                     at::mm(weight.to(at::kDouble), damped.to(at::kDouble)), r, which);
}

Spectrum svd_top(const at::Tensor& weight, std::int64_t r) {
  check_matrix("svd_top", "the weight", weight);
  return subspace_of("svd_top", weight.to(at::kDouble), r, Which::kLargest);
}

Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r) {
  check_square("generalised_top", "the task covariance", task);
  check_square("generalised_top", "the knowledge covariance", knowledge_damped);
  if (task.sizes() != knowledge_damped.sizes()) {
    throw ShapeError(
        concat("[linalg::generalised_top] the covariances must be of one size; they are ",
               size_text(task), " and ", size_text(knowledge_damped)));
  }
  check_rank("generalised_top", r, task.size(0));
  const at::Tensor t = task.to(at::kDouble);
  const at::Tensor k = knowledge_damped.to(at::kDouble);
  if (!std::isfinite(at::linalg_norm(t).item<double>()) ||
      !std::isfinite(at::linalg_norm(k).item<double>())) {
    throw NumericalError(concat("[linalg::generalised_top] a covariance ", size_text(task),
                                " holds a NaN or an infinity"));
  }
  Spectrum result = t.is_cuda() ? cuda::generalised_top(t, k, r) : cpu::generalised_top(t, k, r);
  result.vectors = fix_signs(result.vectors);
  return result;
}

}  // namespace corda::linalg
