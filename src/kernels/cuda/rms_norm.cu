// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a row, which reads it twice; the second time it comes from the cache. Rows that a warp
// holds in registers, and groups that a few lanes hold, as heads are, are read once.
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

constexpr int kWarps = kThreads / 32;

// The sum over neighbouring lanes, given to all of them.
template <int kLanes>
__device__ float lanes_sum(float value) {
  for (int offset = kLanes / 2; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  return value;
}

// Of a row that a warp holds a lane has so many packs, 32 N elements apart.
constexpr int kPacksALane = 4;

template <typename T, int N>
struct HeldRow {
  Pack<T, N> packs[kPacksALane] = {};

  __device__ HeldRow(const T* row, std::int64_t n) {
#pragma unroll
    for (int p = 0; p < kPacksALane; ++p)
      if (column(p) < n) packs[p] = load<T, N>(row + column(p));
  }
  __device__ static std::int64_t column(int pack) {
    return (pack * 32 + static_cast<std::int64_t>(threadIdx.x) % 32) * N;
  }
};

template <typename T, int N>
__global__ void held_rms_norm_forward_kernel(T* out, std::int64_t out_stride, float* inv_rms,
                                             const T* x, std::int64_t x_stride, const T* weight,
                                             std::int64_t rows, std::int64_t n, float eps,
                                             NormKind kind) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  using Held = HeldRow<T, N>;
  Held in(x + row * x_stride, n);
  float sum = 0;
  for (const auto& pack : in.packs)
    for (int j = 0; j < N; ++j) sum += widen(pack.values[j]) * widen(pack.values[j]);
  const float inverse = rsqrtf(lanes_sum<32>(sum) / static_cast<float>(n) + eps);
  if (threadIdx.x % 32 == 0) inv_rms[row] = inverse;
#pragma unroll
  for (int p = 0; p < kPacksALane; ++p) {
    if (Held::column(p) >= n) break;
    auto& pack = in.packs[p];
    const auto scale = load<T, N>(weight + Held::column(p));
    for (int j = 0; j < N; ++j)
      pack.values[j] = weighted<T>(widen(pack.values[j]) * inverse, scale.values[j], kind);
    store(out + row * out_stride + Held::column(p), pack);
  }
}

template <typename T, int N>
__global__ void __launch_bounds__(kThreads, 2)
    held_rms_norm_backward_kernel(T* grad, std::int64_t grad_stride, T* residual,
                                  std::int64_t residual_stride, const T* x, std::int64_t x_stride,
                                  const float* inv_rms, const T* weight, std::int64_t rows,
                                  std::int64_t n, bool keep_output, NormKind kind) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  using Held = HeldRow<T, N>;
  T* dy = grad + row * grad_stride;
  T* sum_to = residual + row * residual_stride;
  Held in(x + row * x_stride, n);
  const Held up(dy, n);
  Held total(sum_to, n);
  const Held scale(weight, n);
  const float inverse = inv_rms[row];
  float dot = 0;
  for (int p = 0; p < kPacksALane; ++p)
    for (int j = 0; j < N; ++j)
      dot += widen(up.packs[p].values[j]) * (kind.offset + widen(scale.packs[p].values[j])) *
             widen(in.packs[p].values[j]) * inverse;
  const float mean = lanes_sum<32>(dot) / static_cast<float>(n);
#pragma unroll
  for (int p = 0; p < kPacksALane; ++p) {
    if (Held::column(p) >= n) break;
    auto& pack = in.packs[p];
    auto& sum = total.packs[p];
    for (int j = 0; j < N; ++j) {
      const float normed = widen(pack.values[j]) * inverse;
      const float w = kind.offset + widen(scale.packs[p].values[j]);
      sum.values[j] = rounded<T>(widen(sum.values[j]) +
                                 (widen(up.packs[p].values[j]) * w - normed * mean) * inverse);
      pack.values[j] = weighted<T>(normed, scale.packs[p].values[j], kind);
    }
    store(sum_to + Held::column(p), sum);
    if (keep_output) store(dy + Held::column(p), pack);
  }
}

unsigned blocks_of_warps(std::int64_t rows) {
  return static_cast<unsigned>((rows + kWarps - 1) / kWarps);
}

template <int N>
bool is_held(std::int64_t n) {
  return n <= 32 * N * kPacksALane;
}

// Says where a warp finds its group; there is one warp for each group of each row.
struct Group {
  std::int64_t row;
  std::int64_t column;
  bool exists;

  __device__ Group(std::int64_t rows, std::int64_t groups, std::int64_t n) {
    const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
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
  return rsqrtf(lanes_sum<32>(sum) / static_cast<float>(n) + eps);
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
  const float mean = lanes_sum<32>(dot) / static_cast<float>(n);
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

// Groups of at most kLanes packs, a pack a lane. So many of them are on their way together.
constexpr unsigned kGroupsALane = 4;

// Where the lanes of a group that holds `n` elements find them.
template <int N, int kLanes>
struct SmallGroups {
  static constexpr unsigned kGroupsABlock = kThreads / kLanes;
  unsigned groups;  // a row
  unsigned all;     // of all rows
  unsigned n;
  unsigned column = threadIdx.x % kLanes * N;
  unsigned first = blockIdx.x * kGroupsABlock * kGroupsALane + threadIdx.x / kLanes;

  __device__ SmallGroups(std::int64_t rows, std::int64_t groups_a_row, std::int64_t elements)
      : groups(static_cast<unsigned>(groups_a_row)),
        all(static_cast<unsigned>(rows * groups_a_row)),
        n(static_cast<unsigned>(elements)) {}

  __device__ bool has(unsigned i) const { return column < n && first + i * kGroupsABlock < all; }
  // The place of the lane's pack of its i-th group.
  __device__ std::int64_t at(unsigned i, std::int64_t stride) const {
    const unsigned group = first + i * kGroupsABlock;
    return group / groups * stride + group % groups * n + column;
  }
};

template <typename T, int N>
__device__ float sum_of_squares(const Pack<T, N>& pack) {
  float sum = 0;
  for (const T value : pack.values) sum += widen(value) * widen(value);
  return sum;
}

template <typename T, int N, int kLanes>
__global__ void small_group_norm_kernel(T* out, std::int64_t out_stride, const T* x,
                                        std::int64_t x_stride, const T* weight, std::int64_t rows,
                                        std::int64_t groups, std::int64_t n, float eps,
                                        NormKind kind) {
  const SmallGroups<N, kLanes> mine(rows, groups, n);
  Pack<T, N> scale = {};
  if (mine.column < n) scale = load<T, N>(weight + mine.column);
  Pack<T, N> packs[kGroupsALane] = {};
#pragma unroll
  for (unsigned g = 0; g < kGroupsALane; ++g)
    if (mine.has(g)) packs[g] = load<T, N>(x + mine.at(g, x_stride));
#pragma unroll
  for (unsigned g = 0; g < kGroupsALane; ++g) {
    Pack<T, N>& pack = packs[g];
    const float sum = lanes_sum<kLanes>(sum_of_squares(pack));
    const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);
    for (int j = 0; j < N; ++j)
      pack.values[j] = weighted<T>(widen(pack.values[j]) * inverse, scale.values[j], kind);
    if (mine.has(g)) store(out + mine.at(g, out_stride), pack);
  }
}

template <typename T, int N, int kLanes>
__global__ void small_group_norm_backward_kernel(T* x, std::int64_t x_stride, const T* grad,
                                                 std::int64_t grad_stride, const T* weight,
                                                 std::int64_t rows, std::int64_t groups,
                                                 std::int64_t n, float eps, NormKind kind) {
  const SmallGroups<N, kLanes> mine(rows, groups, n);
  Pack<T, N> scale = {};
  if (mine.column < n) scale = load<T, N>(weight + mine.column);
  Pack<T, N> packs[kGroupsALane] = {};
  Pack<T, N> ups[kGroupsALane] = {};
#pragma unroll
  for (unsigned g = 0; g < kGroupsALane; ++g) {
    if (!mine.has(g)) continue;
    packs[g] = load<T, N>(x + mine.at(g, x_stride));
    ups[g] = load<T, N>(grad + mine.at(g, grad_stride));
  }
#pragma unroll
  for (unsigned g = 0; g < kGroupsALane; ++g) {
    Pack<T, N>& pack = packs[g];
    const float sum = lanes_sum<kLanes>(sum_of_squares(pack));
    const float inverse = rsqrtf(sum / static_cast<float>(n) + eps);
    float dot = 0;
    for (int j = 0; j < N; ++j)
      dot += widen(ups[g].values[j]) * (kind.offset + widen(scale.values[j])) *
             widen(pack.values[j]) * inverse;
    const float mean = lanes_sum<kLanes>(dot) / static_cast<float>(n);
    for (int j = 0; j < N; ++j) {
      const float normed = widen(pack.values[j]) * inverse;
      const float w = kind.offset + widen(scale.values[j]);
      pack.values[j] = rounded<T>((widen(ups[g].values[j]) * w - normed * mean) * inverse);
    }
    if (mine.has(g)) store(x + mine.at(g, x_stride), pack);
  }
}

template <typename T>
using GroupKernel = void (*)(T* to, std::int64_t to_stride, const T* from, std::int64_t from_stride,
                             const T* weight, std::int64_t rows, std::int64_t groups,
                             std::int64_t n, float eps, NormKind kind);

// One job for groups of at most 16 packs, of at most 32, and of any size.
template <typename T>
struct GroupKernels {
  GroupKernel<T> by_16_lanes;
  GroupKernel<T> by_32_lanes;
  GroupKernel<T> by_warps;
};

// Launches that of the kernels which `kernels_of` gives for a type and width that suits the groups;
// they write `to` and read `from`.
template <typename KernelsOf>
void launch_over_groups(const char* name, Type type, Rows to, Rows from, const void* weight,
                        std::int64_t rows, std::int64_t groups, std::int64_t n, float eps,
                        NormKind kind, cudaStream_t stream, KernelsOf kernels_of) {
  if (rows * groups == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {to, from, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr std::int64_t kMostGroups = std::int64_t{1} << 30;  // whose numbers have 32 bits
    const GroupKernels<T> kernels = kernels_of(variant);
    const std::int64_t packs = n / decltype(variant)::kPack;
    GroupKernel<T> kernel = kernels.by_warps;
    std::int64_t groups_a_block = kWarps;
    if (packs <= 32 && rows * groups < kMostGroups) {
      kernel = packs <= 16 ? kernels.by_16_lanes : kernels.by_32_lanes;
      groups_a_block = kThreads / (packs <= 16 ? 16 : 32) * kGroupsALane;
    }
    const std::int64_t blocks = (rows * groups + groups_a_block - 1) / groups_a_block;
    kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(
        static_cast<T*>(to.data), to.stride, static_cast<const T*>(from.data), from.stride,
        static_cast<const T*>(weight), rows, groups, n, eps, kind);
  });
  check_launch(name);
}

}  // namespace

void group_norm(Type type, Rows out, Rows x, const void* weight, std::int64_t rows,
                std::int64_t groups, std::int64_t n, float eps, NormKind kind,
                cudaStream_t stream) {
  launch_over_groups(
      "group_norm", type, out, x, weight, rows, groups, n, eps, kind, stream, [](auto variant) {
        using T = typename decltype(variant)::Element;
        constexpr int kPack = decltype(variant)::kPack;
        return GroupKernels<T>{small_group_norm_kernel<T, kPack, 16>,
                               small_group_norm_kernel<T, kPack, 32>, group_norm_kernel<T, kPack>};
      });
}

void group_norm_backward(Type type, Rows x, Rows grad, const void* weight, std::int64_t rows,
                         std::int64_t groups, std::int64_t n, float eps, NormKind kind,
                         cudaStream_t stream) {
  launch_over_groups("group_norm_backward", type, x, grad, weight, rows, groups, n, eps, kind,
                     stream, [](auto variant) {
                       using T = typename decltype(variant)::Element;
                       constexpr int kPack = decltype(variant)::kPack;
                       return GroupKernels<T>{small_group_norm_backward_kernel<T, kPack, 16>,
                                              small_group_norm_backward_kernel<T, kPack, 32>,
                                              group_norm_backward_kernel<T, kPack>};
                     });
}

void rms_norm(Type type, Rows out, float* inv_rms, Rows x, const void* weight, std::int64_t rows,
              std::int64_t n, float eps, NormKind kind, cudaStream_t stream) {
  if (rows == 0) return;
  const Rows scale{const_cast<void*>(weight), n};
  dispatch(type, can_be_wide(type, n, {out, x, scale}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    auto* to = static_cast<T*>(out.data);
    const auto* from = static_cast<const T*>(x.data);
    const auto* w = static_cast<const T*>(weight);
    if (is_held<kPack>(n)) {
      held_rms_norm_forward_kernel<T, kPack><<<blocks_of_warps(rows), kThreads, 0, stream>>>(
          to, out.stride, inv_rms, from, x.stride, w, rows, n, eps, kind);
    } else {
      rms_norm_forward_kernel<T, kPack><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
          to, out.stride, inv_rms, from, x.stride, w, n, eps, kind);
    }
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
    constexpr int kPack = decltype(variant)::kPack;
    auto* dy = static_cast<T*>(grad.data);
    auto* sum_to = static_cast<T*>(residual.data);
    const auto* in = static_cast<const T*>(x.data);
    const auto* w = static_cast<const T*>(weight);
    if (is_held<kPack>(n)) {
      held_rms_norm_backward_kernel<T, kPack><<<blocks_of_warps(rows), kThreads, 0, stream>>>(
          dy, grad.stride, sum_to, residual.stride, in, x.stride, inv_rms, w, rows, n, keep_output,
          kind);
    } else {
      rms_norm_backward_kernel<T, kPack><<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
          dy, grad.stride, sum_to, residual.stride, in, x.stride, inv_rms, w, n, keep_output, kind);
    }
  });
  check_launch("rms_norm_backward");
}

}  // namespace corda::kernels::cuda
