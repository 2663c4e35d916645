// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a token. A thread keeps the angles of N pairs in registers and goes over the heads; a
// head's pairs are (i, half + i).
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

// cos and `direction` * sin of N pairs.
template <int N>
struct Angles {
  float cos[N];
  float sin[N];

  __device__ Angles(const float* all_cos, const float* all_sin, float direction) {
    for (int j = 0; j < N; ++j) {
      cos[j] = all_cos[j];
      sin[j] = direction * all_sin[j];
    }
  }
};

// `from` and `to` may be the same head.
template <typename T, int N>
__device__ void rotate_pairs(T* to, const T* from, int half, const Angles<N>& angles) {
  auto low = load<T, N>(from);
  auto high = load<T, N>(from + half);
  for (int j = 0; j < N; ++j) {
    const float a = widen(low.values[j]);
    const float b = widen(high.values[j]);
    low.values[j] = rounded<T>(a * angles.cos[j] - b * angles.sin[j]);
    high.values[j] = rounded<T>(b * angles.cos[j] + a * angles.sin[j]);
  }
  store(to, low);
  store(to + half, high);
}

// Calls `act(head, first pair)` for every head and N pairs, spread over the threads of a block.
// Threads that share pairs differ in the head, so `make_angles(first pair)` is asked once a thread
// wherever the packs of a head divide the block.
template <int N, typename MakeAngles, typename Act>
__device__ void for_heads(int heads, int half, MakeAngles&& make_angles, Act&& act) {
  const int packs = half / N;
  if (packs <= kThreads && kThreads % packs == 0) {
    const int i = static_cast<int>(threadIdx.x) % packs * N;
    const auto angles = make_angles(i);
    for (int head = static_cast<int>(threadIdx.x) / packs; head < heads; head += kThreads / packs)
      act(head, i, angles);
    return;
  }
  for (int item = static_cast<int>(threadIdx.x); item < heads * packs; item += kThreads) {
    const int i = item % packs * N;
    act(item / packs, i, make_angles(i));
  }
}

template <typename T, int N>
__global__ void rotate_kernel(T* x, std::int64_t stride, const float* cos, const float* sin,
                              int heads, int half) {
  const std::int64_t token = blockIdx.x;
  T* row = x + token * stride;
  for_heads<N>(
      heads, half,
      [&](int i) { return Angles<N>(cos + token * half + i, sin + token * half + i, 1.0F); },
      [&](int head, int i, const Angles<N>& angles) {
        T* at = row + head * 2 * half + i;
        rotate_pairs<T, N>(at, at, half, angles);
      });
}

template <typename T, int N>
__global__ void gather_rotated_back_kernel(T* out, std::int64_t stride, const T* dq, const T* dk,
                                           const T* dv, int heads, int kv_heads, const float* cos,
                                           const float* sin, int half) {
  const std::int64_t token = blockIdx.x;
  T* row = out + token * stride;
  const T* q = dq + token * heads * 2 * half;
  const T* k = dk + token * kv_heads * 2 * half;
  const T* v = dv + token * kv_heads * 2 * half;
  for_heads<N>(
      heads + 2 * kv_heads, half,
      [&](int i) { return Angles<N>(cos + token * half + i, sin + token * half + i, -1.0F); },
      [&](int head, int i, const Angles<N>& angles) {
        T* to = row + head * 2 * half + i;
        if (head < heads) {
          rotate_pairs<T, N>(to, q + head * 2 * half + i, half, angles);
        } else if (head < heads + kv_heads) {
          rotate_pairs<T, N>(to, k + (head - heads) * 2 * half + i, half, angles);
        } else {
          const T* from = v + (head - heads - kv_heads) * 2 * half + i;
          store(to, load<T, N>(from));
          store(to + half, load<T, N>(from + half));
        }
      });
}

}  // namespace

void rotate(Type type, Rows x, const float* cos, const float* sin, std::int64_t tokens,
            std::int64_t heads, std::int64_t half, cudaStream_t stream) {
  if (tokens == 0 || heads == 0) return;
  dispatch(type, can_be_wide(type, half, {x}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    rotate_kernel<T, kPack><<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
        static_cast<T*>(x.data), x.stride, cos, sin, static_cast<int>(heads),
        static_cast<int>(half));
  });
  check_launch("rotate");
}

void gather_rotated_back(Type type, Rows out, const HeadGradients& gradients, const float* cos,
                         const float* sin, std::int64_t tokens, std::int64_t half,
                         cudaStream_t stream) {
  if (tokens == 0) return;
  const auto dense = [&](const void* from) { return Rows{const_cast<void*>(from), 2 * half}; };
  const bool wide =
      can_be_wide(type, half, {out, dense(gradients.q), dense(gradients.k), dense(gradients.v)});
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    gather_rotated_back_kernel<T, kPack><<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
        static_cast<T*>(out.data), out.stride, static_cast<const T*>(gradients.q),
        static_cast<const T*>(gradients.k), static_cast<const T*>(gradients.v),
        static_cast<int>(gradients.heads), static_cast<int>(gradients.kv_heads), cos, sin,
        static_cast<int>(half));
  });
  check_launch("gather_rotated_back");
}

}  // namespace corda::kernels::cuda
