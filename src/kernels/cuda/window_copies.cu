// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A block finds its window by bisection, then copies its share of it.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T>
__global__ void copy_windows_kernel(const Window* windows, std::int64_t count) {
  std::int64_t low = 0;
  std::int64_t high = count;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    if (windows[middle].first_block <= blockIdx.x) {
      low = middle;
    } else {
      high = middle;
    }
  }
  const Window window = windows[low];
  const std::int64_t begin = (blockIdx.x - window.first_block) * kWindowBlockElements;
  const std::int64_t left = window.elements - begin;
  const std::int64_t end = begin + (left < kWindowBlockElements ? left : kWindowBlockElements);
  T* to = static_cast<T*>(window.to);
  // Windows are smaller than 2^32 elements, so 32 bits are enough; dividing them is much faster.
  const auto n = static_cast<std::uint32_t>(window.n);
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    const auto row = static_cast<std::uint32_t>(i) / n;
    to[row * window.stride + (i - static_cast<std::int64_t>(row) * n)] =
        rounded<T>(window.from[i] * window.scale);
  }
}

}  // namespace

void copy_windows(Type type, const Window* windows, std::int64_t count, std::int64_t blocks,
                  cudaStream_t stream) {
  if (blocks == 0) return;
  dispatch(type, false, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    copy_windows_kernel<T><<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(windows, count);
  });
  check_launch("copy_windows");
}

}  // namespace corda::kernels::cuda
