// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The lower triangle of a symmetric matrix, which is what covariances are stored as.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// The lower triangle of C [n, n], fp32 and contiguous, row by row: [n (n + 1) / 2] on the device of
// C. What stands above the diagonal is not read. Does not synchronise. Throws ShapeError where C is
// not square, InternalError where it is of another type or not contiguous.
at::Tensor pack_lower(const at::Tensor& matrix);

}  // namespace corda::kernels
