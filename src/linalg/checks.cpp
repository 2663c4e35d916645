// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/checks.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "corda/core/error.h"

namespace corda::linalg {

using core::concat;
using core::ShapeError;

void check_matrix(const char* what, const at::Tensor& matrix) {
  if (matrix.dim() != 2 || matrix.size(0) == 0 || matrix.size(1) == 0)
    throw ShapeError(concat(what, " must be a non-empty matrix; it is ", matrix.sizes()));
}

void check_square(const char* what, const at::Tensor& matrix) {
  check_matrix(what, matrix);
  if (matrix.size(0) != matrix.size(1))
    throw ShapeError(concat(what, " must be square; it is ", matrix.sizes()));
}

void check_rank(std::int64_t r, std::int64_t limit) {
  if (r < 1 || r > limit)
    throw ShapeError(concat("the rank must lie between 1 and ", limit, "; it is ", r));
}

void check_layer(const at::Tensor& weight, const at::Tensor& covariance) {
  check_matrix("the weight", weight);
  check_square("the covariance", covariance);
  if (weight.size(1) != covariance.size(0)) {
    throw ShapeError(concat("the weight is ", weight.sizes(), ", so the covariance must be [",
                            weight.size(1), ", ", weight.size(1), "]; it is ", covariance.sizes()));
  }
}

void check_pair(const at::Tensor& task, const at::Tensor& knowledge) {
  check_square("the task covariance", task);
  check_square("the knowledge covariance", knowledge);
  if (task.sizes() != knowledge.sizes()) {
    throw ShapeError(concat("the covariances must be of one size; they are ", task.sizes(), " and ",
                            knowledge.sizes()));
  }
}

void check_finite(const char* what, const at::Tensor& matrix) {
  // Looks at the largest magnitude, which is a NaN where there is one: that takes one pass and no
  // copy.
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!std::isfinite(at::linalg_vector_norm(matrix, kInfinity).item<double>()))
    throw core::NumericalError(concat(what, " ", matrix.sizes(), " holds a NaN or an infinity"));
}

double least_diagonal(double mean) {
  constexpr double kRounding = 1e-3;
  return -kRounding * mean;
}

double mean_diagonal(const char* what, const at::Tensor& covariance) {
  const at::Tensor diagonal = covariance.diagonal();
  const double mean = diagonal.mean().item<double>();
  const double smallest = diagonal.min().item<double>();
  const double norm = at::linalg_norm(covariance).item<double>();
  if (!std::isfinite(norm) || !(mean > 0) || smallest < least_diagonal(mean)) {
    throw core::NumericalError(concat(
        what, " ", covariance.sizes(),
        " must be finite with a positive diagonal; its mean diagonal is ", mean, ", the smallest ",
        smallest, ", its norm ", norm,
        mean == 0 ? "; what is always zero has no directions, so leave its layers out" : ""));
  }
  return mean;
}

at::Tensor fix_signs(const at::Tensor& vectors) {
  const at::Tensor largest = vectors.gather(0, vectors.abs().argmax(0, /*keepdim=*/true));
  return vectors * at::where(largest < 0, -at::ones_like(largest), at::ones_like(largest));
}

}  // namespace corda::linalg
