// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Gram matrices. From 1024 rows on half of the entries are copied rather than computed, so they are
// symmetric to the last bit; smaller ones are to rounding.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::linalg {

// A^T A [n, n] of A [m, n], and A A^T [m, m].
at::Tensor gram_of_columns(const at::Tensor& a);
at::Tensor gram_of_rows(const at::Tensor& a);

}  // namespace corda::linalg
