// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One thread rotates N pairs of one head; a head's pairs are (i, half + i).
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

unsigned blocks_for(std::int64_t items) {
  return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

// Rotates by the angle of (cos, direction * sin); `from` and `to` may be the same head.
template <typename T, int N>
__device__ void rotate_pairs(T* to, const T* from, const float* cos, const float* sin,
                             std::int64_t half, float direction) {
  const auto low = load<T, N>(from);
  const auto high = load<T, N>(from + half);
  Pack<T, N> rotated_low;
  Pack<T, N> rotated_high;
  for (int j = 0; j < N; ++j) {
    const float a = widen(low.values[j]);
    const float b = widen(high.values[j]);
    const float c = cos[j];
    const float s = direction * sin[j];
    rotated_low.values[j] = rounded<T>(a * c - b * s);
    rotated_high.values[j] = rounded<T>(b * c + a * s);
  }
  store(to, rotated_low);
  store(to + half, rotated_high);
}

template <typename T, int N>
__global__ void rotate_in_place(T* x, std::int64_t stride, const float* cos, const float* sin,
                                std::int64_t tokens, std::int64_t heads, std::int64_t half) {
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t packs = half / N;
  if (item >= tokens * heads * packs) return;
  const std::int64_t i = item % packs * N;
  const std::int64_t head = item / packs % heads;
  const std::int64_t token = item / packs / heads;
  T* at = x + token * stride + head * 2 * half + i;
  rotate_pairs<T, N>(at, at, cos + token * half + i, sin + token * half + i, half, 1.0F);
}

template <typename T, int N>
__global__ void gather_back(T* out, std::int64_t stride, HeadGradients gradients, const float* cos,
                            const float* sin, std::int64_t tokens, std::int64_t half) {
  const std::int64_t all = gradients.heads + 2 * gradients.kv_heads;
  const std::int64_t item = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const std::int64_t packs = half / N;
  if (item >= tokens * all * packs) return;
  const std::int64_t i = item % packs * N;
  const std::int64_t head = item / packs % all;
  const std::int64_t token = item / packs / all;
  T* to = out + token * stride + head * 2 * half + i;
  if (head < gradients.heads) {
    const T* from =
        static_cast<const T*>(gradients.q) + (token * gradients.heads + head) * 2 * half + i;
    rotate_pairs<T, N>(to, from, cos + token * half + i, sin + token * half + i, half, -1.0F);
    return;
  }
  const std::int64_t kv_head = (head - gradients.heads) % gradients.kv_heads;
  const std::int64_t offset = (token * gradients.kv_heads + kv_head) * 2 * half + i;
  if (head < gradients.heads + gradients.kv_heads) {
    rotate_pairs<T, N>(to, static_cast<const T*>(gradients.k) + offset, cos + token * half + i,
                       sin + token * half + i, half, -1.0F);
    return;
  }
  const T* from = static_cast<const T*>(gradients.v) + offset;
  store(to, load<T, N>(from));
  store(to + half, load<T, N>(from + half));
}

bool can_be_wide(Type type, std::int64_t half, const Rows& rows) {
  const std::int64_t size = size_of(type);
  return half * size % kPackBytes == 0 && aligned(rows, size, kPackBytes);
}

}  // namespace

void rotate(Type type, Rows x, const float* cos, const float* sin, std::int64_t tokens,
            std::int64_t heads, std::int64_t half, cudaStream_t stream) {
  if (tokens == 0 || heads == 0) return;
  dispatch(type, can_be_wide(type, half, x), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    rotate_in_place<T, kPack><<<blocks_for(tokens * heads * (half / kPack)), kThreads, 0, stream>>>(
        static_cast<T*>(x.data), x.stride, cos, sin, tokens, heads, half);
  });
  check_launch("rotate");
}

void gather_rotated_back(Type type, Rows out, const HeadGradients& gradients, const float* cos,
                         const float* sin, std::int64_t tokens, std::int64_t half,
                         cudaStream_t stream) {
  if (tokens == 0) return;
  bool wide = can_be_wide(type, half, out);
  for (const void* from : {gradients.q, gradients.k, gradients.v})
    wide = wide && can_be_wide(type, half, {const_cast<void*>(from), 2 * half});
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const std::int64_t all = gradients.heads + 2 * gradients.kv_heads;
    gather_back<T, kPack><<<blocks_for(tokens * all * (half / kPack)), kThreads, 0, stream>>>(
        static_cast<T*>(out.data), out.stride, gradients, cos, sin, tokens, half);
  });
  check_launch("gather_rotated_back");
}

}  // namespace corda::kernels::cuda
