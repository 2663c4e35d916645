// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A warp is as wide as 32 packs of neighbouring columns, a block eight warps on eight rows; the
// grid's second dimension shares the rows out.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kLanes = 32;
constexpr int kWarps = 8;

// Calls `act(row, first column)` for every row of this block's part and the thread's pack.
template <int N, typename Act>
__device__ void for_rows(std::int64_t rows, std::int64_t n, Act&& act) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kLanes + threadIdx.x) * N;
  if (i >= n) return;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * kWarps;
  for (std::int64_t row = blockIdx.y * kWarps + threadIdx.y; row < rows; row += step) act(row, i);
}

template <typename T, int N>
__global__ void scale_columns_forward_kernel(T* out, std::int64_t out_stride, const T* y,
                                             std::int64_t y_stride, const float* factor,
                                             std::int64_t rows, std::int64_t n) {
  for_rows<N>(rows, n, [&](std::int64_t row, std::int64_t i) {
    auto pack = load<T, N>(y + row * y_stride + i);
    for (int j = 0; j < N; ++j) pack.values[j] = rounded<T>(widen(pack.values[j]) * factor[i + j]);
    store(out + row * out_stride + i, pack);
  });
}

// partial [gridDim.y, n]: the sums over each part of the rows.
template <typename T, int N>
__global__ void scale_columns_backward_kernel(T* dy, std::int64_t dy_stride, float* partial,
                                              const T* grad, std::int64_t grad_stride, const T* y,
                                              std::int64_t y_stride, const float* factor,
                                              std::int64_t rows, std::int64_t n) {
  __shared__ float sums[kWarps][kLanes * N];
  float mine[N] = {};
  for_rows<N>(rows, n, [&](std::int64_t row, std::int64_t i) {
    auto g = load<T, N>(grad + row * grad_stride + i);
    const auto value = load<T, N>(y + row * y_stride + i);
    for (int j = 0; j < N; ++j) {
      const float wide = widen(g.values[j]);
      mine[j] += wide * widen(value.values[j]);
      g.values[j] = rounded<T>(wide * factor[i + j]);
    }
    store(dy + row * dy_stride + i, g);
  });
  for (int j = 0; j < N; ++j) sums[threadIdx.y][threadIdx.x * N + j] = mine[j];
  __syncthreads();
  const int threads = kLanes * kWarps;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kLanes * N;
  for (int c = threadIdx.y * kLanes + threadIdx.x; c < kLanes * N; c += threads) {
    if (first + c >= n) continue;
    float sum = 0;
    for (int warp = 0; warp < kWarps; ++warp) sum += sums[warp][c];
    partial[blockIdx.y * n + first + c] = sum;
  }
}

__global__ void add_parts_kernel(float* grad_factor, const float* partial, std::int64_t n) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int part = 0; part < kScaleColumnsParts; ++part) sum += partial[part * n + i];
  grad_factor[i] = sum;
}

dim3 grid_of(std::int64_t n, int pack) {
  const std::int64_t columns = static_cast<std::int64_t>(kLanes) * pack;
  return {static_cast<unsigned>((n + columns - 1) / columns), kScaleColumnsParts, 1};
}

}  // namespace

void scale_columns(Type type, Rows out, Rows y, const float* factor, std::int64_t rows,
                   std::int64_t n, cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  dispatch(type, can_be_wide(type, n, {out, y}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    scale_columns_forward_kernel<T, kPack><<<grid_of(n, kPack), dim3(kLanes, kWarps), 0, stream>>>(
        static_cast<T*>(out.data), out.stride, static_cast<const T*>(y.data), y.stride, factor,
        rows, n);
  });
  check_launch("scale_columns");
}

void scale_columns_backward(Type type, Rows dy, float* grad_factor, float* partial, Rows grad,
                            Rows y, const float* factor, std::int64_t rows, std::int64_t n,
                            cudaStream_t stream) {
  if (n == 0) return;
  dispatch(type, can_be_wide(type, n, {dy, grad, y}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    scale_columns_backward_kernel<T, kPack><<<grid_of(n, kPack), dim3(kLanes, kWarps), 0, stream>>>(
        static_cast<T*>(dy.data), dy.stride, partial, static_cast<const T*>(grad.data), grad.stride,
        static_cast<const T*>(y.data), y.stride, factor, rows, n);
  });
  check_launch("scale_columns_backward");
  constexpr int kThreads = 256;
  add_parts_kernel<<<static_cast<unsigned>((n + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      grad_factor, partial, n);
  check_launch("scale_columns_backward");
}

}  // namespace corda::kernels::cuda
