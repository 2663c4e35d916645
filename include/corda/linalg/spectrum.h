// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The few directions of a layer that decompositions choose: all in fp64, on the tensors' own
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

namespace corda::linalg {

enum class Which { kSmallest, kLargest };

// r directions and what each of them weighs. Each vector's entry of largest magnitude is positive,
// so that results can be repeated. Tensors are fp64 on the device of the input.
struct Spectrum {
  at::Tensor vectors;  // [n, r], one direction a column
  at::Tensor values;   // [r], smallest first for kSmallest, largest first for kLargest
  double total = 0;    // weight of all directions together, see each function
  std::string route;   // how it was computed, for the log: "svd", "qr-inverse-eigh"...
};

// C~ = C + c mean(diag C) I of a covariance C [n, n], in fp64 (CorDA, Yang et al. 2024,
// section 3.2). Throws ShapeError where C is not square, NumericalError where it is zero or not
// finite.
at::Tensor damp(const at::Tensor& covariance, double damping);

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

// The top r eigenvectors a of C_task a = l C_know~ a, not normalised beyond a^T C_know~ a = 1.
// values: the l; total: trace(C_know~^-1 C_task). Throws ShapeError, or NumericalError where
// C_know~ is not positive definite.
Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r);

}  // namespace corda::linalg
