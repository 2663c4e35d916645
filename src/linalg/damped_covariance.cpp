// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/damped_covariance.h"

#include <ATen/ATen.h>

#include "linalg/checks.h"
#include "linalg/dense.h"
#include "linalg/split.h"

namespace corda::linalg {

at::Tensor damp(const at::Tensor& covariance, double damping) {
  check_square("the covariance", covariance);
  at::Tensor damped = covariance.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  const double mean = mean_diagonal("the covariance", damped);
  damped.diagonal().add_(damping * mean);
  return damped;
}

DampedCovariance::DampedCovariance(const at::Tensor& covariance, double damping)
    : matrix_(damp(covariance, damping)) {}

const at::Tensor& DampedCovariance::factor() {
  if (factor_.defined()) return factor_;
  ++factorisations_;
  return factor_ = cholesky("the covariance", matrix_);
}

const at::Tensor& DampedCovariance::inverse() {
  if (!inverse_.defined()) inverse_ = at::cholesky_inverse(factor());
  return inverse_;
}

const DampedCovariance::Range& DampedCovariance::range() {
  if (!range_) {
    const at::Tensor values = eigenvalues(matrix_);
    const double mean = matrix_.diagonal().mean().item<double>();
    range_ = {.smallest = values[0].item<double>() / mean,
              .largest = values[values.size(0) - 1].item<double>() / mean};
  }
  return *range_;
}

const at::Tensor& DampedCovariance::square() {
  if (!square_.defined()) square_ = at::mm(matrix_, matrix_);
  return square_;
}

const std::vector<at::Tensor>& DampedCovariance::pieces() {
  if (pieces_.empty()) pieces_ = pieces_of(matrix_);
  return pieces_;
}

}  // namespace corda::linalg
