// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A matrix moved into rows at another stride.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// to = from, both [rows, n] with contiguous rows at any stride, bf16 or fp32, of one dtype and
// device. On a GPU 16 bytes a thread, where ATen moves one element. Throws InternalError otherwise.
void copy_rows(const at::Tensor& to, const at::Tensor& from);

}  // namespace corda::kernels
