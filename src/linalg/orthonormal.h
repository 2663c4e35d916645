// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Orthonormal bases of a few columns.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

namespace corda::linalg {

// An orthonormal basis of b dimensions that contains the columns of z [n, b], b <= n; in place of
// dependent columns stand directions that rounding chose. Nothing where a column is zero or not
// finite. Cholesky QR in three passes, the first of them shifted (Fukaya et al. 2020).
std::optional<at::Tensor> orthonormal(const at::Tensor& z);

}  // namespace corda::linalg
