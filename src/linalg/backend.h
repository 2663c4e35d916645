// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is not the same code on both devices. Matrices are finite, fp64 and on the backend's device.
#pragma once

#include "corda/linalg/spectrum.h"
#include "linalg/dense.h"

namespace corda::linalg {

namespace cpu {
// Fills vectors, values and route for M [m, n].
Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which);
// The r largest eigenvalues of a symmetric matrix, the largest first. May take its memory.
Eigenpairs largest_eigenpairs(at::Tensor matrix, std::int64_t r);
// sum[begin:, begin : begin + columns] += scale (x^T x) there; x [tokens, n] contiguous, all fp32.
void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           std::int64_t begin, std::int64_t columns);
}  // namespace cpu

namespace cuda {
Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which);
Eigenpairs largest_eigenpairs(at::Tensor matrix, std::int64_t r);
// Does the same on the GPU; x is fp32 or 16-bit. Scale and `one`, which is 1, are read on the
// device, so that the host need not wait for them.
void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           const at::Tensor& one, std::int64_t begin, std::int64_t columns);
}  // namespace cuda

}  // namespace corda::linalg
