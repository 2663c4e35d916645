// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// From tensors to what the CUDA kernels take, with the checks that all of them share.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/cuda/launch.h"

namespace corda::kernels {

// Throws InternalError, naming `function` and `what`, unless `x` is [rows, columns] with contiguous
// rows, bf16 or fp32, of the dtype and on the device of `like`.
void check_rows(const char* function, const char* what, const at::Tensor& x, std::int64_t rows,
                std::int64_t columns, const at::Tensor& like);

// Throws InternalError unless `x` is contiguous, of this shape and dtype, on the device of `like`.
void check_dense(const char* function, const char* what, const at::Tensor& x, at::IntArrayRef shape,
                 at::ScalarType type, const at::Tensor& like);

cuda::Rows rows_of(const at::Tensor& x);
cuda::Type type_of(const at::Tensor& x);
// The current stream of x's device.
cudaStream_t stream_of(const at::Tensor& x);

}  // namespace corda::kernels
