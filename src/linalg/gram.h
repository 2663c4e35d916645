// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Gram matrices, half of whose entries are copied rather than computed.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::linalg {

// A^T A [n, n] of A [m, n], and A A^T [m, m].
at::Tensor gram_of_columns(const at::Tensor& a);
at::Tensor gram_of_rows(const at::Tensor& a);

}  // namespace corda::linalg
