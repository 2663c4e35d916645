// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Dense fp64 factorisations by LibTorch, on the CPU and on the GPU alike. They wait for the device,
// since the solver's status is read.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::linalg {

// L, lower, of A = L L^T. Throws NumericalError "WHAT ... is not positive definite".
at::Tensor cholesky(const char* what, const at::Tensor& matrix);

// L^-1 b and L^-T b; neither waits.
at::Tensor solve(const at::Tensor& lower, const at::Tensor& b);
at::Tensor solve_transposed(const at::Tensor& lower, const at::Tensor& b);

struct Eigenpairs {
  at::Tensor values;   // [r]
  at::Tensor vectors;  // [n, r], one eigenvector a column
};

// All eigenpairs of a symmetric matrix [n, n], the smallest first. Throws NumericalError where
// syevd fails.
Eigenpairs eigenpairs(const at::Tensor& matrix);

// The eigenvalues alone [n], the smallest first. Errors as above.
at::Tensor eigenvalues(const at::Tensor& matrix);

}  // namespace corda::linalg
