// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Proofs that a subspace is nearly optimal, each for the price of one Cholesky factorisation.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::linalg {

// Let S = rest K + Z diag(values - rest) Z^T with K [n, n] positive definite, Z [n, r] K^-1-
// orthonormal and every value >= rest. True only where S - A is positive definite, for a symmetric
// A [n, n]; then (Weyl) the i-th largest eigenvalue of A x = l K x is at most the i-th largest of
// S, which are the r values and then rest. Hence no subspace of r dimensions has a larger sum of
// eigenvalues than sum(values), and a subspace that is far from optimal cannot pass with values
// near its own Ritz values. A tie at the cut passes. `k` undefined stands for the identity.
// Rounding is on the side of refusing: n eps times the largest diagonal entry must be to spare.
bool dominates(const at::Tensor& a, const at::Tensor& z, const at::Tensor& values, double rest,
               const at::Tensor& k = {});

// An upper bound of ||E||_2, from E's images e [n, s] of s probes p [n, s] with entries of one
// variance: twice the estimate of ||E||_F that they give. It is a bound but for bad luck: for E of
// rank one, the worst case, and s = 16 normal probes the estimate is below half of ||E||_F with
// probability P(chi^2_16 < 4) = 1.1e-3; the more directions E has, the less.
double norm_bound(const at::Tensor& images, const at::Tensor& probes);

}  // namespace corda::linalg
