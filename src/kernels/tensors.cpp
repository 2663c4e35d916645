// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "kernels/tensors.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAStream.h>

#include "corda/core/error.h"

namespace corda::kernels {

using core::concat;
using core::InternalError;

void check_rows(const char* function, const char* what, const at::Tensor& x, std::int64_t rows,
                std::int64_t columns, const at::Tensor& like) {
  const bool shape = x.dim() == 2 && x.size(0) == rows && x.size(1) == columns;
  if (!shape || (columns > 1 && x.stride(1) != 1) || (rows > 1 && x.stride(0) < columns)) {
    throw InternalError(concat("[kernels::", function, "] ", what, " must be [", rows, ", ",
                               columns, "] with contiguous rows; it is ", x.sizes(),
                               " with strides ", x.strides()));
  }
  const bool type = x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16;
  if (!type || x.scalar_type() != like.scalar_type() || x.device() != like.device()) {
    throw InternalError(concat("[kernels::", function, "] ", what,
                               " must be fp32 or bf16 and like ", like.scalar_type(), " on ",
                               like.device(), "; it is ", x.scalar_type(), " on ", x.device()));
  }
}

void check_dense(const char* function, const char* what, const at::Tensor& x, at::IntArrayRef shape,
                 at::ScalarType type, const at::Tensor& like) {
  if (x.sizes() == shape && x.scalar_type() == type && x.is_contiguous() &&
      x.device() == like.device())
    return;
  throw InternalError(concat("[kernels::", function, "] ", what, " must be a contiguous ", type,
                             " ", shape, " on ", like.device(), "; it is ", x.scalar_type(), " ",
                             x.sizes(), " with strides ", x.strides(), " on ", x.device()));
}

cuda::Rows rows_of(const at::Tensor& x) { return {x.mutable_data_ptr(), x.stride(0)}; }

cuda::Type type_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? cuda::Type::kFloat : cuda::Type::kBFloat16;
}

cudaStream_t stream_of(const at::Tensor& x) {
  return c10::cuda::getCurrentCUDAStream(x.device().index()).stream();
}

}  // namespace corda::kernels
