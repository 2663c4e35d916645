// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A block quantises a few rows, and reads each factor of a column once for all of them. Rows up to
// kMostPacks packs a thread are held in registers between the search for the largest value and the
// rounding; longer ones are read again.
#include <cuda_fp8.h>

#include <type_traits>

#include "corda/kernels/float8_range.h"
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 512;
constexpr int kMostPacks = 6;

// largest[row] of every thread becomes that of the block.
template <int kRows>
__device__ void block_max(float (&largest)[kRows]) {
  constexpr int kWarps = kThreads / 32;
  __shared__ float shared[kRows][kWarps];
  for (int row = 0; row < kRows; ++row) {
    for (int offset = 16; offset > 0; offset /= 2)
      largest[row] = fmaxf(largest[row], __shfl_xor_sync(0xffffffffU, largest[row], offset));
    if (threadIdx.x % 32 == 0) shared[row][threadIdx.x / 32] = largest[row];
  }
  __syncthreads();
  for (int row = 0; row < kRows; ++row)
    for (int warp = 0; warp < kWarps; ++warp) largest[row] = fmaxf(largest[row], shared[row][warp]);
}

// What every block reads stays in the cache, and what is read once does not drive it out.
template <int N>
__device__ Pack<float, N> load_factors(const float* factors, std::int64_t column) {
  Pack<float, N> result;
  if constexpr (N % 4 == 0) {
    const auto* from = reinterpret_cast<const float4*>(factors + column);
    auto* to = reinterpret_cast<float4*>(result.values);
    for (int j = 0; j < N / 4; ++j) to[j] = __ldg(from + j);
  } else {
    for (int j = 0; j < N; ++j) result.values[j] = __ldg(factors + column + j);
  }
  return result;
}

template <typename T, int N>
__device__ Pack<T, N> load_once(const T* from) {
  if constexpr (sizeof(Pack<T, N>) == sizeof(uint4)) {
    const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(from));
    return *reinterpret_cast<const Pack<T, N>*>(&bits);
  } else {
    return load<T, N>(from);
  }
}

template <int N>
__device__ void store_codes(std::uint8_t* to, const float (&values)[N]) {
  Pack<std::uint8_t, N> out;
  if constexpr (N == 1) {
    out.values[0] = __nv_cvt_float_to_fp8(values[0], __NV_SATFINITE, __NV_E4M3);
  } else {
    for (int j = 0; j < N; j += 2) {
      const __nv_fp8x2_storage_t two = __nv_cvt_float2_to_fp8x2(
          make_float2(values[j], values[j + 1]), __NV_SATFINITE, __NV_E4M3);
      out.values[j] = static_cast<std::uint8_t>(two & 0xffU);
      out.values[j + 1] = static_cast<std::uint8_t>(two >> 8);
    }
  }
  store(to, out);
}

// kPacks: a row has at most so many for every thread; 0: any number.
template <typename T, int N, int kPacks, int kRows, bool kFactors>
__global__ void __launch_bounds__(kThreads, 2)
    quantise_rows_kernel(std::uint8_t* codes, float* scales, const T* x, std::int64_t stride,
                         const float* factors, std::int64_t rows, std::int64_t n) {
  constexpr int kHeld = kPacks > 0 ? kPacks : 1;
  Pack<T, N> held[kRows][kHeld];
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const int count = static_cast<int>(rows - first < kRows ? rows - first : kRows);
  const std::int64_t begin = static_cast<std::int64_t>(threadIdx.x) * N;
  const std::int64_t step = static_cast<std::int64_t>(kThreads) * N;
  if constexpr (kPacks > 0) {  // all at once, so that they are on their way together
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        if (begin + p * step < n && row < count)
          held[row][p] = load_once<T, N>(x + (first + row) * stride + begin + p * step);
      }
    }
  }
  // Calls act(row, first column, its values times the factors).
  const auto for_packs = [&](auto&& act) {
#pragma unroll kHeld
    for (int p = 0; kPacks == 0 || p < kPacks; ++p) {
      const std::int64_t i = begin + p * step;
      if (i >= n) break;
      [[maybe_unused]] Pack<float, N> factor;
      if constexpr (kFactors) factor = load_factors<N>(factors, i);
#pragma unroll
      for (int row = 0; row < kRows; ++row) {
        if (row >= count) break;
        Pack<T, N> pack;
        if constexpr (kPacks > 0)
          pack = held[row][p];
        else
          pack = load<T, N>(x + (first + row) * stride + i);
        float values[N];
        for (int j = 0; j < N; ++j) {
          values[j] = widen(pack.values[j]);
          if constexpr (kFactors) values[j] *= factor.values[j];
        }
        act(row, i, values);
      }
    }
  };
  float largest[kRows] = {};
  for_packs([&](int row, std::int64_t, const float(&values)[N]) {
    for (const float value : values) largest[row] = fmaxf(largest[row], fabsf(value));
  });
  block_max(largest);
  float inverse[kRows];
  for (int row = 0; row < kRows; ++row) {
    const bool zeros = largest[row] < kSmallestFloat8Range;
    inverse[row] = zeros ? 1 : kLargestFloat8 / largest[row];
    if (threadIdx.x == 0 && row < count)
      scales[first + row] = zeros ? 1 : largest[row] / kLargestFloat8;
  }
  for_packs([&](int row, std::int64_t i, float(&values)[N]) {
    for (float& value : values) value *= inverse[row];
    store_codes(codes + (first + row) * n + i, values);
  });
}

template <typename T>
__global__ void scale_product_kernel(T* d, std::int64_t d_stride, const float* row_scale,
                                     const float* column_scale, float alpha, const T* added,
                                     std::int64_t added_stride, std::int64_t rows, std::int64_t n) {
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= n) return;
  const float factor = alpha * column_scale[column];
  for (std::int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    float value = widen(d[row * d_stride + column]) * row_scale[row] * factor;
    if (added != nullptr) value += widen(added[row * added_stride + column]);
    d[row * d_stride + column] = rounded<T>(value);
  }
}

}  // namespace

void quantise_rows(Type type, void* codes, float* scales, Rows x, const float* factors,
                   std::int64_t rows, std::int64_t n, cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  // A pack of codes is narrower than one of x, but starts at a multiple of its own size likewise.
  dispatch(type, can_be_wide(type, n, {x}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const auto launch = [&](auto packs, auto rows_of_block) {
      constexpr int kPacks = decltype(packs)::value;
      constexpr int kRows = decltype(rows_of_block)::value;
      const auto kernel = factors == nullptr ? quantise_rows_kernel<T, kPack, kPacks, kRows, false>
                                             : quantise_rows_kernel<T, kPack, kPacks, kRows, true>;
      kernel<<<static_cast<unsigned>((rows + kRows - 1) / kRows), kThreads, 0, stream>>>(
          static_cast<std::uint8_t*>(codes), scales, static_cast<const T*>(x.data), x.stride,
          factors, rows, n);
    };
    const std::int64_t packs = (n + kThreads * kPack - 1) / (kThreads * kPack);
    if (packs <= 1) {
      launch(std::integral_constant<int, 1>(), std::integral_constant<int, 4>());
    } else if (packs <= 3) {
      launch(std::integral_constant<int, 3>(), std::integral_constant<int, 2>());
    } else if (packs <= kMostPacks) {
      launch(std::integral_constant<int, kMostPacks>(), std::integral_constant<int, 1>());
    } else {
      launch(std::integral_constant<int, 0>(), std::integral_constant<int, 1>());
    }
  });
  check_launch("quantise_rows");
}

void scale_product(Type type, Rows d, const float* row, const float* column, float alpha,
                   Rows added, std::int64_t rows, std::int64_t n, cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  constexpr std::int64_t kMostRowsOfBlocks = 4096;
  dispatch(type, /*wide=*/false, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    const dim3 grid(static_cast<unsigned>((n + kThreads - 1) / kThreads),
                    static_cast<unsigned>(rows < kMostRowsOfBlocks ? rows : kMostRowsOfBlocks), 1);
    scale_product_kernel<T>
        <<<grid, kThreads, 0, stream>>>(static_cast<T*>(d.data), d.stride, row, column, alpha,
                                        static_cast<const T*>(added.data), added.stride, rows, n);
  });
  check_launch("scale_product");
}

}  // namespace corda::kernels::cuda
