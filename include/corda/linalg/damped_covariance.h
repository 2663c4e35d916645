// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The damped covariance of one site with the factors that the site's layers share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace corda::linalg {

// C~ = C + c mean(diag C) I of a covariance C [n, n], in fp64 (CorDA, Yang et al. 2024,
// section 3.2). Throws ShapeError where C is not square, NumericalError where it is zero or not
// finite.
at::Tensor damp(const at::Tensor& covariance, double damping);

// C~ and what is computed from it once, when a layer first asks for it. Not for use from several
// threads. Tensors are fp64 on the covariance's device.
class DampedCovariance {
 public:
  // Takes `damp(covariance, damping)`; errors as there.
  DampedCovariance(const at::Tensor& covariance, double damping);

  const at::Tensor& matrix() const { return matrix_; }
  std::int64_t size() const { return matrix_.size(0); }
  // L, lower, of C~ = L L^T. Throws NumericalError where C~ is not positive definite.
  const at::Tensor& factor();
  // C~^-1, symmetric. Errors as `factor`.
  const at::Tensor& inverse();
  // The smallest and the largest eigenvalue of C~, in units of the mean of its diagonal.
  struct Range {
    double smallest = 0;
    double largest = 0;
  };
  const Range& range();
  // C~ C~.
  const at::Tensor& square();
  // C~ as a sum of matrices whose products are fast: two in bf16 on a GPU, one in fp32 on the CPU.
  const std::vector<at::Tensor>& pieces();
  // How often C~ was factorised: at most once.
  std::int64_t factorisations() const { return factorisations_; }

 private:
  at::Tensor matrix_;
  at::Tensor factor_;
  at::Tensor inverse_;
  std::optional<Range> range_;
  at::Tensor square_;
  std::vector<at::Tensor> pieces_;
  std::int64_t factorisations_ = 0;
};

}  // namespace corda::linalg
