// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a row. A row is read twice; the second time it comes from the cache.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

// (offset + w) n with the rounding that the kind has.
template <typename T>
__device__ T weighted(float normed, T weight, NormKind kind) {
  const float n = kind.rounds_before_weight ? widen(rounded<T>(normed)) : normed;
  return rounded<T>(n * (kind.offset + widen(weight)));
}

template <typename T, int N>
__global__ void rms_norm_forward_kernel(T* out, std::int64_t out_stride, float* inv_rms, const T* x,
                                        std::int64_t x_stride, const T* weight, std::int64_t n,
                                        float eps, NormKind kind) {
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
      pack.values[j] = weighted<T>(widen(pack.values[j]) * inverse, scale.values[j], kind);
    store(to + i, pack);
  }
}

// With h = x / rms: dx = (w dy - h mean(w dy h)) / rms.
template <typename T, int N>
__global__ void rms_norm_backward_kernel(T* grad, std::int64_t grad_stride, T* residual,
                                         std::int64_t residual_stride, const T* x,
                                         std::int64_t x_stride, const float* inv_rms,
                                         const T* weight, std::int64_t n, bool keep_output,
                                         NormKind kind) {
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
      dot += widen(up.values[j]) * (kind.offset + widen(scale.values[j])) * widen(pack.values[j]) *
             inverse;
  }
  const float mean = block_sum(dot, shared) / static_cast<float>(n);
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    auto pack = load<T, N>(in + i);
    const auto up = load<T, N>(dy + i);
    const auto scale = load<T, N>(weight + i);
    auto total = load<T, N>(sum_to + i);
    for (int j = 0; j < N; ++j) {
      const float normed = widen(pack.values[j]) * inverse;
      const float w = kind.offset + widen(scale.values[j]);
      total.values[j] =
          rounded<T>(widen(total.values[j]) + (widen(up.values[j]) * w - normed * mean) * inverse);
      pack.values[j] = weighted<T>(normed, scale.values[j], kind);
    }
    store(sum_to + i, total);
    if (keep_output) store(dy + i, pack);
  }
}

constexpr int kGroupWarps = 8;

__device__ float warp_sum(float value) {
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}

// Says where a warp finds its group; there is one warp for each group of each row.
struct Group {
  std::int64_t row;
  std::int64_t column;
  bool exists;

  __device__ Group(std::int64_t rows, std::int64_t groups, std::int64_t n) {
    const std::int64_t index =
        static_cast<std::int64_t>(blockIdx.x) * kGroupWarps + threadIdx.x / 32;
    row = index / groups;
    column = index % groups * n;
    exists = row < rows;
  }
};

template <typename T, int N>
__device__ float inverse_rms(const T* in, std::int64_t n, float eps) {
  float sum = 0;
  for (std::int64_t i = threadIdx.x % 32 * N; i < n; i += 32 * N) {
    const auto pack = load<T, N>(in + i);
    for (int j = 0; j < N; ++j) sum += widen(pack.values[j]) * widen(pack.values[j]);
  }
  return rsqrtf(warp_sum(sum) / static_cast<float>(n) + eps);
}

template <typename T, int N>
__global__ void group_norm_kernel(T* out, std::int64_t out_stride, const T* x,
                                  std::int64_t x_stride, const T* weight, std::int64_t rows,
                                  std::int64_t groups, std::int64_t n, float eps, NormKind kind) {
  const Group group(rows, groups, n);
  if (!group.exists) return;
  const T* in = x + group.row * x_stride + group.column;
  T* to = out + group.row * out_stride + group.column;
  const float inverse = inverse_rms<T, N>(in, n, eps);
  for (std::int64_t i = threadIdx.x % 32 * N; i < n; i += 32 * N) {
    auto pack = load<T, N>(in + i);
    const auto scale = load<T, N>(weight + i);
    for (int j = 0; j < N; ++j)
      pack.values[j] = weighted<T>(widen(pack.values[j]) * inverse, scale.values[j], kind);
    store(to + i, pack);
  }
}

template <typename T, int N>
__global__ void group_norm_backward_kernel(T* x, std::int64_t x_stride, const T* grad,
                                           std::int64_t grad_stride, const T* weight,
                                           std::int64_t rows, std::int64_t groups, std::int64_t n,
                                           float eps, NormKind kind) {
  const Group group(rows, groups, n);
  if (!group.exists) return;
  T* in = x + group.row * x_stride + group.column;
  const T* dy = grad + group.row * grad_stride + group.column;
  const float inverse = inverse_rms<T, N>(in, n, eps);
  float dot = 0;
  for (std::int64_t i = threadIdx.x % 32 * N; i < n; i += 32 * N) {
    const auto pack = load<T, N>(in + i);
    const auto up = load<T, N>(dy + i);
    const auto scale = load<T, N>(weight + i);
    for (int j = 0; j < N; ++j)
      dot += widen(up.values[j]) * (kind.offset + widen(scale.values[j])) * widen(pack.values[j]) *
             inverse;
  }
  const float mean = warp_sum(dot) / static_cast<float>(n);
  // A thread overwrites only what it alone reads.
  for (std::int64_t i = threadIdx.x % 32 * N; i < n; i += 32 * N) {
    auto pack = load<T, N>(in + i);
    const auto up = load<T, N>(dy + i);
    const auto scale = load<T, N>(weight + i);
    for (int j = 0; j < N; ++j) {
      const float normed = widen(pack.values[j]) * inverse;
      const float w = kind.offset + widen(scale.values[j]);
      pack.values[j] = rounded<T>((widen(up.values[j]) * w - normed * mean) * inverse);
    }
    store(in + i, pack);
  }
}

// Launches what `kernel_of` gives for a type and width, with a warp a group: the kernels over
// groups write `to` and read `from`.
template <typename KernelOf>
void launch_over_groups(const char* name, Type type, Rows to, Rows from, const void* weight,
                        std::int64_t rows, std::int64_t groups, std::int64_t n, float eps,
                        NormKind kind, cudaStream_t stream, KernelOf kernel_of) {
  if (rows * groups == 0) return;
  const auto blocks = static_cast<unsigned>((rows * groups + kGroupWarps - 1) / kGroupWarps);
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {to, from, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    const auto kernel = kernel_of(variant);
    kernel<<<blocks, kGroupWarps * 32, 0, stream>>>(
        static_cast<T*>(to.data), to.stride, static_cast<const T*>(from.data), from.stride,
        static_cast<const T*>(weight), rows, groups, n, eps, kind);
  });
  check_launch(name);
}

}  // namespace

void group_norm(Type type, Rows out, Rows x, const void* weight, std::int64_t rows,
                std::int64_t groups, std::int64_t n, float eps, NormKind kind,
                cudaStream_t stream) {
  launch_over_groups("group_norm", type, out, x, weight, rows, groups, n, eps, kind, stream,
                     [](auto variant) {
                       using V = decltype(variant);
                       return group_norm_kernel<typename V::Element, V::kPack>;
                     });
}

void group_norm_backward(Type type, Rows x, Rows grad, const void* weight, std::int64_t rows,
                         std::int64_t groups, std::int64_t n, float eps, NormKind kind,
                         cudaStream_t stream) {
  launch_over_groups("group_norm_backward", type, x, grad, weight, rows, groups, n, eps, kind,
                     stream, [](auto variant) {
                       using V = decltype(variant);
                       return group_norm_backward_kernel<typename V::Element, V::kPack>;
                     });
}

void rms_norm(Type type, Rows out, float* inv_rms, Rows x, const void* weight, std::int64_t rows,
              std::int64_t n, float eps, NormKind kind, cudaStream_t stream) {
  if (rows == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {out, x, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    rms_norm_forward_kernel<T, decltype(variant)::kPack>
        <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
            static_cast<T*>(out.data), out.stride, inv_rms, static_cast<const T*>(x.data), x.stride,
            static_cast<const T*>(weight), n, eps, kind);
  });
  check_launch("rms_norm");
}

void rms_norm_backward(Type type, Rows grad, Rows residual, Rows x, const float* inv_rms,
                       const void* weight, std::int64_t rows, std::int64_t n, bool keep_output,
                       NormKind kind, cudaStream_t stream) {
  if (rows == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {grad, residual, x, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    rms_norm_backward_kernel<T, decltype(variant)::kPack>
        <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
            static_cast<T*>(grad.data), grad.stride, static_cast<T*>(residual.data),
            residual.stride, static_cast<const T*>(x.data), x.stride, inv_rms,
            static_cast<const T*>(weight), n, keep_output, kind);
  });
  check_launch("rms_norm_backward");
}

}  // namespace corda::kernels::cuda
