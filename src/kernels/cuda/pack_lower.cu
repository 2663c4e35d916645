// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A block copies one row, neighbouring threads neighbouring elements: a packed row begins at no
// boundary that wider loads could use.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

__global__ void pack_lower_kernel(float* to, const float* from, std::int64_t n) {
  const std::int64_t row = blockIdx.x;
  const float* line = from + row * n;
  float* packed = to + row * (row + 1) / 2;
  for (std::int64_t column = threadIdx.x; column <= row; column += kThreads)
    packed[column] = line[column];
}

}  // namespace

void pack_lower(float* to, const float* from, std::int64_t n, cudaStream_t stream) {
  if (n == 0) return;
  pack_lower_kernel<<<static_cast<unsigned>(n), kThreads, 0, stream>>>(to, from, n);
  check_launch("pack_lower");
}

}  // namespace corda::kernels::cuda
