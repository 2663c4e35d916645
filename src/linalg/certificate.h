// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Proofs that a subspace is nearly optimal, each for the price of a Cholesky factorisation or less.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "corda/linalg/spectrum.h"
#include "linalg/subspace_iteration.h"

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

// The same for a subspace of more dimensions, without a matrix, in two steps. The first bounds the
// eigenvalues outside it: an upper bound of the largest eigenvalue of P A P, P = I - Z Z^T, Z
// orthonormal [n, p]. T_d(2 P A P / expected - I) is applied to `probes`; an eigenvalue beyond the
// bound would have made them longer than they came out. d is chosen so that the bound comes down to
// `enough` where no eigenvalue is above `expected`. It fails with the probability of `norm_bound`.
// Infinity where `expected` is not positive.
double complement_bound(const Operator& apply, const at::Tensor& z, double expected, double enough);

// The degree that it takes.
std::int64_t complement_degree(std::int64_t n, double expected, double enough);

// True only where no r eigenvalues of A have a larger sum than the first r Ritz values d_i and r
// times `allowance`, given that the eigenvalues of P A P are at most `outside`. Let rest = d_r +
// allowance and S = Z diag(d_1 + allowance, ..., d_r + allowance, rest, ..., rest) Z^T + rest P. S
// dominates A, and proves the claim as above, where the Schur complement of S - A is positive
// definite; with R = A Z - Z D that is so for diag(allowance, ..., allowance, rest - d_j, ...) -
// R^T R / (rest - outside), [p, p]. Residuals enter squared.
bool residuals_allow(const RitzPairs& pairs, double allowance, double outside);

// Normal numbers [n, 64] to find out about a matrix with.
at::Tensor probes(std::int64_t n, at::Device device);

// An upper bound of ||E||_F, hence of ||E||_2, from E's images of `probes`: twice the estimate that
// they give. It is a bound but for bad luck: with singular values s_i and s = 64 probes,
// sum ||E p||^2 is a sum of s_i^2 chi^2_64, and by Chernoff's inequality it is below x s ||E||_F^2
// with a probability of at most (x e^(1 - x))^(s / 2), whatever the s_i: E exp(-t sum) =
// prod (1 + 2 t s_i^2)^(-s / 2) <= (1 + 2 t ||E||_F^2)^(-s / 2). For x = 1/4 that is 1.5e-9.
double norm_bound(const at::Tensor& images);

// Whether directions, values and total are finite numbers.
bool is_finite(const Spectrum& found);

// Why `found` may not be given out as proved: a number in it is not finite, or its bound is not
// between `least` and `most`. "" where nothing is in the way. A NaN never passes here; it does
// through std::min, std::max and std::clamp, which may give the other number.
std::string unproved(const Spectrum& found, double least, double most);

}  // namespace corda::linalg
