// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the kernels share: wide loads, conversions, sums over a block, the choice of a variant.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <initializer_list>

#include "corda/core/error.h"
#include "kernels/cuda/launch.h"

namespace corda::kernels::cuda {

// N elements that are loaded and stored together.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__device__ T rounded(float x);
template <>
__device__ inline float rounded<float>(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 rounded<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}

// The widest words that a thread moves at once.
template <int kBytes>
struct WordOf;
template <>
struct WordOf<1> {
  using Type = std::uint8_t;
};
template <>
struct WordOf<2> {
  using Type = std::uint16_t;
};
template <>
struct WordOf<4> {
  using Type = std::uint32_t;
};
template <>
struct WordOf<8> {
  using Type = uint2;
};
template <>
struct WordOf<16> {
  using Type = uint4;
};
constexpr int kPackBytes = 16;

// A pack of T as the fewest words.
template <typename T>
struct Words {
  static constexpr int kBytes = sizeof(T) < kPackBytes ? sizeof(T) : kPackBytes;
  static constexpr int kCount = sizeof(T) / kBytes;
  using Word = typename WordOf<kBytes>::Type;
  Word words[kCount];
};

// Both move words in global memory. Written as the copy of a pack, many of the stores would be
// split by the compiler into elements, four or eight in the place of one.
template <typename T, int N>
__device__ Pack<T, N> load(const T* from) {
  using Whole = Words<Pack<T, N>>;
  Whole whole;
#pragma unroll
  for (int i = 0; i < Whole::kCount; ++i)
    whole.words[i] = reinterpret_cast<const typename Whole::Word*>(from)[i];
  return __builtin_bit_cast(Pack<T, N>, whole);
}
template <typename T, int N>
__device__ void store(T* to, const Pack<T, N>& pack) {
  using Whole = Words<Pack<T, N>>;
  const auto whole = __builtin_bit_cast(Whole, pack);
#pragma unroll
  for (int i = 0; i < Whole::kCount; ++i)
    __stwb(reinterpret_cast<typename Whole::Word*>(to) + i, whole.words[i]);
}

// The sum of every thread's `value`, given to all of them. A block has at most 1024 threads, a
// multiple of 32; `shared` holds 32 floats and may be used again after the call.
__device__ inline float block_sum(float value, float* shared) {
  for (int offset = 16; offset > 0; offset /= 2)
    value += __shfl_xor_sync(0xffffffffU, value, offset);
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < warps; ++warp) sum += shared[warp];
  __syncthreads();
  return sum;
}

inline void check_launch(const char* kernel) {
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) {
    throw core::ResourceError(
        core::concat("the GPU did not take the kernel ", kernel, ": ", cudaGetErrorString(error)));
  }
}

// Whether rows can be read in packs of `bytes`: base address and stride are multiples of it.
inline bool aligned(const Rows& rows, std::int64_t element, std::int64_t bytes) {
  return reinterpret_cast<std::uintptr_t>(rows.data) % static_cast<std::uintptr_t>(bytes) == 0 &&
         rows.stride * element % bytes == 0;
}

// A type and the number of its elements in a pack, as values that a generic lambda can unpack.
template <typename T, int N>
struct Variant {
  using Element = T;
  static constexpr int kPack = N;
};

// Calls `launch` with Variant<T, 16 bytes> where `wide`, else Variant<T, 1>.
template <typename Launch>
void dispatch(Type type, bool wide, Launch&& launch) {
  if (type == Type::kFloat) {
    wide ? launch(Variant<float, 4>{}) : launch(Variant<float, 1>{});
  } else {
    wide ? launch(Variant<__nv_bfloat16, 8>{}) : launch(Variant<__nv_bfloat16, 1>{});
  }
}

inline std::int64_t size_of(Type type) { return type == Type::kFloat ? 4 : 2; }
// Whether rows of `n` elements can be read in packs of 16 bytes.
inline bool can_be_wide(Type type, std::int64_t n, std::initializer_list<Rows> all) {
  const std::int64_t size = size_of(type);
  bool wide = n * size % kPackBytes == 0;
  for (const Rows& rows : all) wide = wide && aligned(rows, size, kPackBytes);
  return wide;
}

}  // namespace corda::kernels::cuda
