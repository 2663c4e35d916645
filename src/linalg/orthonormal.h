// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Orthonormal bases of a few columns.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace corda::linalg {

// An orthonormal basis of the columns of z [n, b], b <= n; nothing where they are dependent to
// rounding. Cholesky QR in three passes, the first of them shifted (Fukaya et al. 2020).
std::optional<at::Tensor> orthonormal(const at::Tensor& z);

}  // namespace corda::linalg
