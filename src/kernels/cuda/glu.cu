// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One thread works on N neighbours of one row.
#include <algorithm>

#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

// An activation at a point, and its derivative there.
struct Point {
  float value;
  float slope;
};

template <Activation>
__device__ Point activate(float x);

template <>
__device__ inline Point activate<Activation::kSilu>(float x) {
  const float sigmoid = 1.0F / (1.0F + __expf(-x));
  const float value = x * sigmoid;
  return {value, sigmoid + value * (1.0F - sigmoid)};
}

template <>
__device__ inline Point activate<Activation::kGelu>(float x) {
  constexpr float kInverseSqrt2 = 0.70710678118654752F;
  constexpr float kInverseSqrt2Pi = 0.39894228040143268F;
  const float phi = 0.5F * (1.0F + erff(x * kInverseSqrt2));
  return {x * phi, phi + x * kInverseSqrt2Pi * __expf(-0.5F * x * x)};
}

template <>
__device__ inline Point activate<Activation::kGeluTanh>(float x) {
  constexpr float kSqrt2OverPi = 0.79788456080286536F;
  constexpr float kCubic = 0.044715F;
  const float square = x * x;
  const float t = tanhf(kSqrt2OverPi * x * (1.0F + kCubic * square));
  const float inner_slope = kSqrt2OverPi * (1.0F + 3.0F * kCubic * square);
  return {0.5F * x * (1.0F + t), 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * inner_slope};
}

template <typename T, int N, Activation kActivation>
__global__ void glu_forward_kernel(T* out, std::int64_t out_stride, const T* gates,
                                   std::int64_t gate_stride, const T* ups, std::int64_t up_stride,
                                   std::int64_t n) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  const auto row = static_cast<std::int64_t>(blockIdx.y);
  const auto gate = load<T, N>(gates + row * gate_stride + i);
  auto up = load<T, N>(ups + row * up_stride + i);
  for (int j = 0; j < N; ++j) {
    const Point point = activate<kActivation>(widen(gate.values[j]));
    up.values[j] = rounded<T>(point.value * widen(up.values[j]));
  }
  store(out + row * out_stride + i, up);
}

template <typename T, int N, Activation kActivation>
__global__ void glu_backward_kernel(T* gates, std::int64_t gate_stride, T* ups,
                                    std::int64_t up_stride, T* grad, std::int64_t grad_stride,
                                    std::int64_t n, bool keep_output) {
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
    const Point point = activate<kActivation>(widen(gate.values[j]));
    const float u = widen(up.values[j]);
    const float d = widen(down.values[j]);
    gate.values[j] = rounded<T>(d * u * point.slope);
    up.values[j] = rounded<T>(d * point.value);
    down.values[j] = rounded<T>(point.value * u);
  }
  store(gate_at, gate);
  store(up_at, up);
  if (keep_output) store(grad_at, down);
}

dim3 grid_of(std::int64_t n, int pack, std::int64_t rows) {
  const std::int64_t per_block = static_cast<std::int64_t>(kThreads) * pack;
  return {static_cast<unsigned>((n + per_block - 1) / per_block), static_cast<unsigned>(rows), 1};
}

template <typename T>
T* row(const Rows& rows, std::int64_t i) {
  return static_cast<T*>(rows.data) + i * rows.stride;
}

template <Activation kValue>
struct ActivationConstant {
  static constexpr Activation value = kValue;
};

// Calls `launch` with the activation as a constant.
template <typename Launch>
void dispatch_activation(Activation activation, Launch&& launch) {
  switch (activation) {
    case Activation::kSilu:
      return launch(ActivationConstant<Activation::kSilu>{});
    case Activation::kGelu:
      return launch(ActivationConstant<Activation::kGelu>{});
    case Activation::kGeluTanh:
      return launch(ActivationConstant<Activation::kGeluTanh>{});
  }
}

// Rows go into the grid's second dimension, which ends at 65535.
constexpr std::int64_t kMaxGridRows = 65535;

// Calls `launch(variant, activation constant, first row, number of rows)` as often as it takes.
template <typename Launch>
void for_launches(Type type, bool wide, Activation activation, std::int64_t rows, Launch&& launch) {
  dispatch(type, wide, [&](auto variant) {
    dispatch_activation(activation, [&](auto constant) {
      for (std::int64_t begin = 0; begin < rows; begin += kMaxGridRows)
        launch(variant, constant, begin, std::min(rows - begin, kMaxGridRows));
    });
  });
}

}  // namespace

void glu(Type type, Activation activation, Rows out, Rows gate, Rows up, std::int64_t rows,
         std::int64_t n, cudaStream_t stream) {
  const bool wide = can_be_wide(type, n, {out, gate, up});
  for_launches(type, wide, activation, rows,
               [&](auto variant, auto constant, std::int64_t begin, std::int64_t count) {
                 using T = typename decltype(variant)::Element;
                 constexpr int kPack = decltype(variant)::kPack;
                 glu_forward_kernel<T, kPack, decltype(constant)::value>
                     <<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
                         row<T>(out, begin), out.stride, row<T>(gate, begin), gate.stride,
                         row<T>(up, begin), up.stride, n);
               });
  check_launch("glu");
}

void glu_backward(Type type, Activation activation, Rows gate, Rows up, Rows grad,
                  std::int64_t rows, std::int64_t n, bool keep_output, cudaStream_t stream) {
  const bool wide = can_be_wide(type, n, {gate, up, grad});
  for_launches(type, wide, activation, rows,
               [&](auto variant, auto constant, std::int64_t begin, std::int64_t count) {
                 using T = typename decltype(variant)::Element;
                 constexpr int kPack = decltype(variant)::kPack;
                 glu_backward_kernel<T, kPack, decltype(constant)::value>
                     <<<grid_of(n, kPack, count), kThreads, 0, stream>>>(
                         row<T>(gate, begin), gate.stride, row<T>(up, begin), up.stride,
                         row<T>(grad, begin), grad.stride, n, keep_output);
               });
  check_launch("glu_backward");
}

}  // namespace corda::kernels::cuda
