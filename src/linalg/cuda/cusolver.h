// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The cuSOLVER routines that the CUDA backend uses, on fp64 row-major tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <cusolverDn.h>

#include <cstdint>

namespace corda::linalg::cuda {

// Handles of one device and its current stream. Every routine waits for its result, since the info
// word is read; a status or info word other than success is a NumericalError with the routine and
// the shape (ResourceError where memory ran out). cuSOLVER is column-major: a contiguous row-major
// tensor [p, q] is to it the transpose, q x p, and that is how the comments below count.
class Solver {
 public:
  explicit Solver(at::Device device);
  Solver(const Solver&) = delete;
  Solver& operator=(const Solver&) = delete;
  ~Solver();

  // QR in place of X = a^T, a contiguous [p, q] with p <= q. Afterwards the lower triangle of the
  // first p columns of `a` is R^T and the rest holds Q; returns tau [p].
  at::Tensor qr(at::Tensor& a);
  // rows [k, q] <- each row times Q^T, that is Q applied to each row as a column; `a`, `tau` from
  // `qr`.
  void apply_q(const at::Tensor& a, const at::Tensor& tau, at::Tensor& rows);
  // Inverse in place of a lower triangular a [n, n] whose upper part is zero.
  void invert_lower(at::Tensor& a);

  struct Eigen {
    at::Tensor rows;    // [r, n], one eigenvector a row
    at::Tensor values;  // [r], largest first
  };
  // The r largest eigenvalues of the symmetric a [n, n], which is overwritten.
  Eigen eigen_top(at::Tensor& a, std::int64_t r);

  struct Svd {
    at::Tensor rows;    // [n, n], one left singular vector a row
    at::Tensor values;  // [n], largest first
  };
  // Left singular vectors of the square a [n, n].
  Svd left_svd(const at::Tensor& a);

 private:
  void check(cusolverStatus_t status, const char* routine, const at::Tensor& matrix) const;
  void check_info(const at::Tensor& info, const char* routine, const at::Tensor& matrix) const;
  at::Tensor device_buffer(std::size_t bytes) const;

  at::Device device_;
  cusolverDnHandle_t handle_ = nullptr;
  cusolverDnParams_t params_ = nullptr;
};

}  // namespace corda::linalg::cuda
