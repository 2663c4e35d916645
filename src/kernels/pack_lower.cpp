// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/pack_lower.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/parallel.h"
#include "kernels/tensors.h"

namespace corda::kernels {

at::Tensor pack_lower(const at::Tensor& matrix) {
  if (matrix.dim() != 2 || matrix.size(0) != matrix.size(1))
    throw core::ShapeError(core::concat("a matrix to pack must be square; it is ", matrix.sizes()));
  const std::int64_t n = matrix.size(0);
  check_dense("pack_lower", "the matrix", matrix, {n, n}, at::kFloat, matrix);
  const at::Tensor packed = at::empty({n * (n + 1) / 2}, matrix.options());
  const float* from = matrix.const_data_ptr<float>();
  float* to = packed.mutable_data_ptr<float>();
  if (matrix.is_cuda()) {
    const c10::cuda::CUDAGuard guard(matrix.device());
    cuda::pack_lower(to, from, n, stream_of(matrix));
    return packed;
  }
  constexpr std::int64_t kThreads = 4;  // more are hardly faster (tests/bench/README.md)
  constexpr std::int64_t kRows = 256;   // that one of them takes at a time
  core::parallel_for(n, kThreads, kRows, [&](std::int64_t row) {
    std::copy_n(from + row * n, row + 1, to + row * (row + 1) / 2);
  });
  return packed;
}

}  // namespace corda::kernels
