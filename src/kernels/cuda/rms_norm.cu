// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a row. A row is read twice; the second time it comes from the cache.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

template <typename T, int N>
__global__ void rms_norm_forward_kernel(T* out, std::int64_t out_stride, float* inv_rms, const T* x,
                                        std::int64_t x_stride, const T* weight, std::int64_t n,
                                        float eps) {
  __shared__ float shared[32];
  const std::int64_t row = blockIdx.x;
  const T* in = x + row * x_stride;
  T* to = out + row * out_stride;
  float sum = 0;
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    const auto pack = load<T, N>(in + i);
    for (int j = 0; j < N; ++j) sum += widen(pack.values[j]) * widen(pack.values[j]);
  }
  const float inverse = rsqrtf(block_sum(sum, shared) / static_cast<float>(n) + eps);
  if (threadIdx.x == 0) inv_rms[row] = inverse;
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    auto pack = load<T, N>(in + i);
    const auto scale = load<T, N>(weight + i);
    for (int j = 0; j < N; ++j)
      pack.values[j] = rounded<T>(widen(pack.values[j]) * inverse * widen(scale.values[j]));
    store(to + i, pack);
  }
}

// With h = x / rms: dx = (w dy - h mean(w dy h)) / rms.
template <typename T, int N>
__global__ void rms_norm_backward_kernel(T* grad, std::int64_t grad_stride, T* residual,
                                         std::int64_t residual_stride, const T* x,
                                         std::int64_t x_stride, const float* inv_rms,
                                         const T* weight, std::int64_t n, bool keep_output) {
  __shared__ float shared[32];
  const std::int64_t row = blockIdx.x;
  const T* in = x + row * x_stride;
  T* dy = grad + row * grad_stride;
  T* sum_to = residual + row * residual_stride;
  const float inverse = inv_rms[row];
  float dot = 0;
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    const auto pack = load<T, N>(in + i);
    const auto up = load<T, N>(dy + i);
    const auto scale = load<T, N>(weight + i);
    for (int j = 0; j < N; ++j)
      dot += widen(up.values[j]) * widen(scale.values[j]) * widen(pack.values[j]) * inverse;
  }
  const float mean = block_sum(dot, shared) / static_cast<float>(n);
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    auto pack = load<T, N>(in + i);
    const auto up = load<T, N>(dy + i);
    const auto scale = load<T, N>(weight + i);
    auto total = load<T, N>(sum_to + i);
    for (int j = 0; j < N; ++j) {
      const float normed = widen(pack.values[j]) * inverse;
      const float w = widen(scale.values[j]);
      total.values[j] =
          rounded<T>(widen(total.values[j]) + (widen(up.values[j]) * w - normed * mean) * inverse);
      pack.values[j] = rounded<T>(normed * w);
    }
    store(sum_to + i, total);
    if (keep_output) store(dy + i, pack);
  }
}

}  // namespace

void rms_norm(Type type, Rows out, float* inv_rms, Rows x, const void* weight, std::int64_t rows,
              std::int64_t n, float eps, cudaStream_t stream) {
  if (rows == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {out, x, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    rms_norm_forward_kernel<T, decltype(variant)::kPack>
        <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
            static_cast<T*>(out.data), out.stride, inv_rms, static_cast<const T*>(x.data), x.stride,
            static_cast<const T*>(weight), n, eps);
  });
  check_launch("rms_norm");
}

void rms_norm_backward(Type type, Rows grad, Rows residual, Rows x, const float* inv_rms,
                       const void* weight, std::int64_t rows, std::int64_t n, bool keep_output,
                       cudaStream_t stream) {
  if (rows == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {grad, residual, x, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    rms_norm_backward_kernel<T, decltype(variant)::kPack>
        <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
            static_cast<T*>(grad.data), grad.stride, static_cast<T*>(residual.data),
            residual.stride, static_cast<const T*>(x.data), x.stride, inv_rms,
            static_cast<const T*>(weight), n, keep_output);
  });
  check_launch("rms_norm_backward");
}

}  // namespace corda::kernels::cuda
