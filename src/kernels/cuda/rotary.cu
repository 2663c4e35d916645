// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a token. A thread keeps the angles of N pairs in registers and goes over the heads.
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

// Turns the pairs i to i + N - 1 of a head; `from` and `to` may be the same head.
template <typename T, int N>
__device__ void rotate_pairs(T* to, const T* from, int i, const HeadShape& shape,
                             const Angles<N>& angles) {
  // Two packs hold the N pairs either way; only which elements belong together differs.
  const std::int64_t first = shape.interleaved ? 2 * i : i;
  const std::int64_t second = shape.interleaved ? first + N : i + shape.half;
  Pack<T, N> packs[2] = {load<T, N>(from + first), load<T, N>(from + second)};
  for (int j = 0; j < N; ++j) {
    T& low = shape.interleaved ? packs[2 * j / N].values[2 * j % N] : packs[0].values[j];
    T& high =
        shape.interleaved ? packs[(2 * j + 1) / N].values[(2 * j + 1) % N] : packs[1].values[j];
    const float a = widen(low);
    const float b = widen(high);
    low = rounded<T>(a * angles.cos[j] - b * angles.sin[j]);
    high = rounded<T>(b * angles.cos[j] + a * angles.sin[j]);
  }
  store(to + first, packs[0]);
  store(to + second, packs[1]);
}

// Calls `act(head, first pair)` for every head and N pairs, spread over the threads of a block.
// Threads that share pairs differ in the head, so `make_angles(first pair)` is asked once a thread;
// threads beyond the last whole head of packs are idle.
template <int N, typename MakeAngles, typename Act>
__device__ void for_heads(int heads, int half, MakeAngles&& make_angles, Act&& act) {
  const int packs = half / N;
  if (packs <= kThreads) {
    const int heads_at_once = kThreads / packs;
    int head = static_cast<int>(threadIdx.x) / packs;
    if (head >= heads_at_once) return;
    const int i = static_cast<int>(threadIdx.x) % packs * N;
    const auto angles = make_angles(i);
    for (; head < heads; head += heads_at_once) act(head, i, angles);
    return;
  }
  for (int item = static_cast<int>(threadIdx.x); item < heads * packs; item += kThreads) {
    const int i = item % packs * N;
    act(item / packs, i, make_angles(i));
  }
}

template <typename T, int N>
__global__ void rotate_kernel(T* x, std::int64_t stride, const float* cos, const float* sin,
                              int heads, HeadShape shape) {
  const std::int64_t token = blockIdx.x;
  const int half = static_cast<int>(shape.half);
  T* row = x + token * stride;
  for_heads<N>(
      heads, half,
      [&](int i) { return Angles<N>(cos + token * half + i, sin + token * half + i, 1.0F); },
      [&](int head, int i, const Angles<N>& angles) {
        T* at = row + head * shape.head_dim;
        rotate_pairs<T, N>(at, at, i, shape, angles);
      });
}

// Copies the elements [begin, d) of `heads` heads.
template <typename T, int N>
__device__ void copy_rest(T* to, const T* from, int heads, int begin, int d) {
  const int packs = (d - begin) / N;
  for (int item = static_cast<int>(threadIdx.x); item < heads * packs; item += kThreads) {
    const int i = item / packs * d + begin + item % packs * N;
    store(to + i, load<T, N>(from + i));
  }
}

template <typename T, int N>
__global__ void gather_rotated_back_kernel(T* out, std::int64_t stride, const T* dq, const T* dk,
                                           const T* dv, int heads, int kv_heads, const float* cos,
                                           const float* sin, HeadShape shape) {
  const std::int64_t token = blockIdx.x;
  const int half = static_cast<int>(shape.half);
  const int d = static_cast<int>(shape.head_dim);
  T* row = out + token * stride;
  const T* q = dq + token * heads * d;
  const T* k = dk + token * kv_heads * d;
  const T* v = dv + token * kv_heads * d;
  for_heads<N>(
      heads + kv_heads, half,
      [&](int i) { return Angles<N>(cos + token * half + i, sin + token * half + i, -1.0F); },
      [&](int head, int i, const Angles<N>& angles) {
        const T* from = head < heads ? q + head * d : k + (head - heads) * d;
        rotate_pairs<T, N>(row + head * d, from, i, shape, angles);
      });
  copy_rest<T, N>(row, q, heads, 2 * half, d);
  copy_rest<T, N>(row + heads * d, k, kv_heads, 2 * half, d);
  copy_rest<T, N>(row + (heads + kv_heads) * d, v, kv_heads, 0, d);
}

// Whether the pairs of a head, and its other elements, can be read in packs of 16 bytes.
bool can_be_wide(Type type, const HeadShape& shape, std::initializer_list<Rows> all) {
  return cuda::can_be_wide(type, shape.half, all) && cuda::can_be_wide(type, shape.head_dim, all);
}

}  // namespace

void rotate(Type type, Rows x, const float* cos, const float* sin, std::int64_t tokens,
            std::int64_t heads, HeadShape shape, cudaStream_t stream) {
  if (tokens == 0 || heads == 0) return;
  dispatch(type, can_be_wide(type, shape, {x}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    rotate_kernel<T, kPack><<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
        static_cast<T*>(x.data), x.stride, cos, sin, static_cast<int>(heads), shape);
  });
  check_launch("rotate");
}

void gather_rotated_back(Type type, Rows out, const HeadGradients& gradients, const float* cos,
                         const float* sin, std::int64_t tokens, HeadShape shape,
                         cudaStream_t stream) {
  if (tokens == 0) return;
  const auto dense = [&](const void* from) {
    return Rows{const_cast<void*>(from), shape.head_dim};
  };
  const bool wide =
      can_be_wide(type, shape, {out, dense(gradients.q), dense(gradients.k), dense(gradients.v)});
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    gather_rotated_back_kernel<T, kPack><<<static_cast<unsigned>(tokens), kThreads, 0, stream>>>(
        static_cast<T*>(out.data), out.stride, static_cast<const T*>(gradients.q),
        static_cast<const T*>(gradients.k), static_cast<const T*>(gradients.v),
        static_cast<int>(gradients.heads), static_cast<int>(gradients.kv_heads), cos, sin, shape);
  });
  check_launch("gather_rotated_back");
}

}  // namespace corda::kernels::cuda
