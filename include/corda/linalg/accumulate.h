// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sums of scaled Gram matrices: the inner loop of calibration.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::linalg {

// sum += scale x^T x on and below the diagonal; what stands above it afterwards is undefined.
// sum [n, n] fp32, x [tokens, n] fp32 or (on a GPU) 16-bit, scale fp32 with one element, all on one
// device. Products of 16-bit numbers are exact in fp32, and so is the scaling up to one rounding;
// sums are fp32. On a GPU one call of cuBLAS a panel with the scale read there, so nothing waits
// for it. Throws ShapeError where the sizes do not fit, ResourceError with cuBLAS's status.
void add_scaled_gram(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale);

// Copies the lower triangle of a square matrix onto its upper one, in place.
void mirror_lower(at::Tensor& matrix);

}  // namespace corda::linalg
