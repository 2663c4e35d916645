// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A factor for every column of a matrix, as DoRA has for every output feature (Liu et al. 2024,
// eq. 5).
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// out = y * factor, computed in fp32 and rounded once. out and y [rows, n] of one dtype (bf16 or
// fp32) with contiguous rows at any stride, factor [n] fp32, contiguous. Does not synchronise.
// Throws InternalError.
void scale_columns(const at::Tensor& out, const at::Tensor& y, const at::Tensor& factor);

// The backward, in one pass: dy = grad * factor, and grad_factor [n] fp32 = the sum over rows of
// grad * y, always in the same order. dy may be grad.
void scale_columns_backward(const at::Tensor& dy, const at::Tensor& grad_factor,
                            const at::Tensor& grad, const at::Tensor& y, const at::Tensor& factor);

}  // namespace corda::kernels
