// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One thread works on N neighbours of one row.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T, int N>
__global__ void forward(T* out, std::int64_t out_stride, const T* gate_up, std::int64_t stride,
                        std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  const T* row = gate_up + static_cast<std::int64_t>(blockIdx.y) * stride;
  const auto gate = load<T, N>(row + i);
  auto up = load<T, N>(row + n + i);
  for (int j = 0; j < N; ++j) {
    const float g = widen(gate.values[j]);
    up.values[j] = rounded<T>(g / (1.0F + __expf(-g)) * widen(up.values[j]));
  }
  store(out + static_cast<std::int64_t>(blockIdx.y) * out_stride + i, up);
}

template <typename T, int N>
__global__ void backward(T* gate_up, std::int64_t stride, T* grad, std::int64_t grad_stride,
                         std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  T* row = gate_up + static_cast<std::int64_t>(blockIdx.y) * stride;
  T* dy = grad + static_cast<std::int64_t>(blockIdx.y) * grad_stride;
  auto gate = load<T, N>(row + i);
  auto up = load<T, N>(row + n + i);
  auto down = load<T, N>(dy + i);
  for (int j = 0; j < N; ++j) {
    const float g = widen(gate.values[j]);
    const float u = widen(up.values[j]);
    const float d = widen(down.values[j]);
    const float sigmoid = 1.0F / (1.0F + __expf(-g));
    const float silu = g * sigmoid;
    gate.values[j] = rounded<T>(d * u * (sigmoid + silu * (1.0F - sigmoid)));
    up.values[j] = rounded<T>(d * silu);
    down.values[j] = rounded<T>(silu * u);
  }
  store(row + i, gate);
  store(row + n + i, up);
  store(dy + i, down);
}

// Rows go into the grid's second dimension, which ends at 65535.
constexpr std::int64_t kMaxGridRows = 65535;

template <typename Launch>
void for_row_ranges(std::int64_t rows, Launch&& launch) {
  for (std::int64_t begin = 0; begin < rows; begin += kMaxGridRows)
    launch(begin, rows - begin < kMaxGridRows ? rows - begin : kMaxGridRows);
}

dim3 grid_of(std::int64_t n, int pack, std::int64_t rows) {
  const std::int64_t per_block = static_cast<std::int64_t>(kThreads) * pack;
  return {static_cast<unsigned>((n + per_block - 1) / per_block), static_cast<unsigned>(rows), 1};
}

bool can_be_wide(Type type, std::int64_t n, const Rows& a, const Rows& b) {
  const std::int64_t size = size_of(type);
  return n * size % kPackBytes == 0 && aligned(a, size, kPackBytes) && aligned(b, size, kPackBytes);
}

}  // namespace

void swiglu(Type type, Rows out, Rows gate_up, std::int64_t rows, std::int64_t n,
            cudaStream_t stream) {
  dispatch(type, can_be_wide(type, n, out, gate_up), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    for_row_ranges(rows, [&](std::int64_t begin, std::int64_t count) {
      forward<T, kPack><<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
          static_cast<T*>(out.data) + begin * out.stride, out.stride,
          static_cast<const T*>(gate_up.data) + begin * gate_up.stride, gate_up.stride, n);
    });
  });
  check_launch("swiglu");
}

void swiglu_backward(Type type, Rows gate_up, Rows grad, std::int64_t rows, std::int64_t n,
                     cudaStream_t stream) {
  dispatch(type, can_be_wide(type, n, grad, gate_up), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    for_row_ranges(rows, [&](std::int64_t begin, std::int64_t count) {
      backward<T, kPack><<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
          static_cast<T*>(gate_up.data) + begin * gate_up.stride, gate_up.stride,
          static_cast<T*>(grad.data) + begin * grad.stride, grad.stride, n);
    });
  });
  check_launch("swiglu_backward");
}

}  // namespace corda::kernels::cuda
