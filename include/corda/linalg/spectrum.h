// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The few directions of a layer that decompositions choose: all in fp64, on the tensors' own
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "corda/linalg/damped_covariance.h"

namespace corda::linalg {

enum class Which { kSmallest, kLargest };

// r directions and what each of them weighs. Each vector's entry of largest magnitude is positive,
// so that results can be repeated. Tensors are fp64 on the device of the input.
struct Spectrum {
  at::Tensor vectors;  // [n, r], one direction a column
  at::Tensor values;   // [r], smallest first for kSmallest, largest first for kLargest
  double total = 0;    // weight of all directions together, see each function
  std::string route;   // how it was computed, for the log: "svd", "qr-inverse-eigh"...
  // Proved bound on weight found / best weight: at most this for kSmallest, at least this for the
  // others; 1 for the exact routes, which are right to rounding.
  double bound = 1;
  std::string refused;  // why the fast route was given up and the exact one taken; else empty
};

// Exact routes: dense fp64 factorisations.

// The r left singular vectors of W C~ [out, in] with the smallest or the largest singular values,
// out of the min(out, in) that the reduced SVD has (CorDA, eq. 3 and 4). values: singular values;
// total: ||W C~||_F. On a CUDA device the smallest come from QR and a triangular inverse (no loss
// by squaring the condition number), the largest from the Gram matrix, which is accurate enough for
// them. Synchronises. Throws ShapeError (sizes do not fit, r out of range), NumericalError (solver,
// NaN).
Spectrum left_singular_subspace(const at::Tensor& weight, const at::Tensor& damped, std::int64_t r,
                                Which which);

// The r left singular vectors of W [out, in] with the largest singular values (PiSSA, Meng et al.
// 2024). values: singular values; total: ||W||_F. Errors as above.
Spectrum svd_top(const at::Tensor& weight, std::int64_t r);

// Those with the smallest singular values (MiLoRA, Wang et al. 2024; MiCA, 2604.01694), out of the
// min(out, in) that the reduced SVD has. As svd_top otherwise.
Spectrum svd_bottom(const at::Tensor& weight, std::int64_t r);

// The r eigenvectors of a symmetric matrix [n, n] with the smallest or the largest eigenvalues,
// orthonormal. values: the eigenvalues, of either sign; total: the trace. Throws ShapeError,
// NumericalError (solver, NaN).
Spectrum eigenvectors(const at::Tensor& matrix, std::int64_t r, Which which);

// The singular values of W C~ [out, in], all of them together: right to 1e-8 of the largest each.
struct SingularValues {
  double sum = 0;
  double largest = 0;
};
SingularValues singular_values(const at::Tensor& weight, const at::Tensor& damped);

// The top r eigenvectors a of C_task a = l C_know~ a, not normalised beyond a^T C_know~ a = 1.
// values: the l; total: trace(C_know~^-1 C_task). Throws ShapeError, or NumericalError where
// C_know~ is not positive definite.
Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r);

// Certified routes: Chebyshev-filtered subspace iteration, whose result is proved (certificate.h in
// src/linalg) to be within a bound of the optimum. What is not proved is computed again by the
// exact route.

struct SubspaceOptions {
  bool exact = false;                // take the exact route whatever the size
  std::int64_t smallest_size = 512;  // so do matrices with fewer rows or columns
  // Products of the matrix with a block of vectors after which the iteration is given up; the fast
  // route of the largest directions has a fixed number of rounds instead.
  std::int64_t application_limit = 120;
  // Called after each phase of the work with its name, for timing.
  std::function<void(const char* phase)> on_phase = {};
};

// The least that the certified routes prove; see Spectrum::bound.
inline constexpr double kSmallestBound = 1.001;     // energy / optimum, at most
inline constexpr double kLargestBound = 0.99999;    // energy / optimum, at least
inline constexpr double kGeneralisedBound = 0.999;  // sum of eigenvalues / optimum, at least

// As left_singular_subspace, ||U^T W C~||_F within kSmallestBound or kLargestBound of the optimum.
// Ties at the cut are broken arbitrarily. Works on the inverse of the k x k Gram matrix, k =
// min(out, in), made from factors so that the condition number is not squared twice (kSmallest), or
// on the Gram matrix (kLargest), which is made from 16-bit pieces and refined with W and C~
// themselves; `total` is then right to 1e-4. W may have any floating type, the fastest is bf16.
Spectrum certified_subspace(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                            Which which, const SubspaceOptions& options = {});

// As generalised_top, the sum of the values within kGeneralisedBound of the optimum. Throws
// NumericalError where the task's covariance is zero or not finite too.
Spectrum certified_generalised_top(const at::Tensor& task, DampedCovariance& knowledge,
                                   std::int64_t r, const SubspaceOptions& options = {});

// As eigenvectors(covariance, r, kLargest) of a covariance, the sum of the values within
// kGeneralisedBound of the optimum. Throws NumericalError where it is zero or not finite.
Spectrum certified_eigen_top(const at::Tensor& covariance, std::int64_t r,
                             const SubspaceOptions& options = {});

}  // namespace corda::linalg
