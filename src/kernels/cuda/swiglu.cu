// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One thread works on N neighbours of one row.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T, int N>
__global__ void forward(T* out, std::int64_t out_stride, const T* gates, std::int64_t gate_stride,
                        const T* ups, std::int64_t up_stride, std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  const auto row = static_cast<std::int64_t>(blockIdx.y);
  const auto gate = load<T, N>(gates + row * gate_stride + i);
  auto up = load<T, N>(ups + row * up_stride + i);
  for (int j = 0; j < N; ++j) {
    const float g = widen(gate.values[j]);
    up.values[j] = rounded<T>(g / (1.0F + __expf(-g)) * widen(up.values[j]));
  }
  store(out + row * out_stride + i, up);
}

template <typename T, int N>
__global__ void backward(T* gates, std::int64_t gate_stride, T* ups, std::int64_t up_stride,
                         T* grad, std::int64_t grad_stride, std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  const auto row = static_cast<std::int64_t>(blockIdx.y);
  T* gate_at = gates + row * gate_stride + i;
  T* up_at = ups + row * up_stride + i;
  T* grad_at = grad + row * grad_stride + i;
  auto gate = load<T, N>(gate_at);
  auto up = load<T, N>(up_at);
  auto down = load<T, N>(grad_at);
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
  store(gate_at, gate);
  store(up_at, up);
  store(grad_at, down);
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

bool can_be_wide(Type type, std::int64_t n, const Rows& a, const Rows& b, const Rows& c) {
  const std::int64_t size = size_of(type);
  return n * size % kPackBytes == 0 && aligned(a, size, kPackBytes) &&
         aligned(b, size, kPackBytes) && aligned(c, size, kPackBytes);
}

template <typename T>
T* row(const Rows& rows, std::int64_t i) {
  return static_cast<T*>(rows.data) + i * rows.stride;
}

}  // namespace

void swiglu(Type type, Rows out, Rows gate, Rows up, std::int64_t rows, std::int64_t n,
            cudaStream_t stream) {
  dispatch(type, can_be_wide(type, n, out, gate, up), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    for_row_ranges(rows, [&](std::int64_t begin, std::int64_t count) {
      forward<T, kPack><<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
          row<T>(out, begin), out.stride, row<T>(gate, begin), gate.stride, row<T>(up, begin),
          up.stride, n);
    });
  });
  check_launch("swiglu");
}

void swiglu_backward(Type type, Rows gate, Rows up, Rows grad, std::int64_t rows, std::int64_t n,
                     cudaStream_t stream) {
  dispatch(type, can_be_wide(type, n, gate, up, grad), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    for_row_ranges(rows, [&](std::int64_t begin, std::int64_t count) {
      backward<T, kPack><<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
          row<T>(gate, begin), gate.stride, row<T>(up, begin), up.stride, row<T>(grad, begin),
          grad.stride, n);
    });
  });
  check_launch("swiglu_backward");
}

}  // namespace corda::kernels::cuda
