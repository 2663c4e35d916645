// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Products of a matrix with a covariance from both sides, of which no fp64 copy is made.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::linalg {

// X C X^T [k, k] of X [k, n] and a symmetric C [n, n] of any floating type, in fp64 on X's device.
// C may lie elsewhere; it is brought there and widened a panel of columns at a time. Throws
// ShapeError where the sizes do not fit.
at::Tensor sandwich(const at::Tensor& x, const at::Tensor& covariance);

// tr(X C X^T), which is the sum of ||X c||^2 over inputs c whose products c c^T add up to C. Works
// as `sandwich`, and X is widened a panel of rows at a time.
double energy(const at::Tensor& x, const at::Tensor& covariance);

}  // namespace corda::linalg
