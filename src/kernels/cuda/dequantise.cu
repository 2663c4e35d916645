// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A thread makes a pack of neighbouring values of one row; a block's second dimension are rows. The
// work is bounded by writing: 2 bytes a value, beside half a byte or one that is read.
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kColumns = 64;  // packs
constexpr int kRows = 4;

__device__ float rounded_to(float value, Values values) {
  if (values == Values::kBFloat16) return __bfloat162float(__float2bfloat16_rn(value));
  if (values == Values::kHalf) return __half2float(__float2half_rn(value));
  return value;
}

// a / b, by a shift where `shift` is not negative.
__device__ std::int64_t divided(std::int64_t a, std::int64_t b, int shift) {
  return shift >= 0 ? a >> shift : a / b;
}

// Rounds the product and the sum one after the other, as the host does; a fused one would differ.
__device__ float factor_of(const Table& t, std::int64_t block, int nested_shift) {
  if (t.absmax != nullptr) return t.absmax[block];
  const float outer = t.nested_absmax[divided(block, t.nested_block, nested_shift)];
  return __fadd_rn(__fmul_rn(t.nested_table[t.nested_codes[block]], outer), t.nested_offset);
}

template <typename T, int N>
__global__ void table_kernel(T* out, std::int64_t stride, Table t, PackedRows rows, int shift,
                             int nested_shift) {
  __shared__ float table[16];
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  if (thread < 16) table[thread] = t.table[thread];
  __syncthreads();
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x) * N;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kRows + threadIdx.y;
  if (column >= rows.columns || row >= rows.count) return;
  const std::int64_t first = (rows.first + row) * rows.columns + column;
  const float factor = factor_of(t, divided(first, t.block, shift), nested_shift);
  Pack<T, N> pack;
  if constexpr (N == 1) {
    const int pair = t.codes[first / 2];
    const int code = first % 2 == 0 ? pair >> 4 : pair & 15;
    pack.values[0] = rounded<T>(rounded_to(table[code] * factor, rows.values));
  } else {
    const auto pairs = load<std::uint8_t, N / 2>(t.codes + first / 2);
    for (int j = 0; j < N / 2; ++j) {
      const int pair = pairs.values[j];
      pack.values[2 * j] = rounded<T>(rounded_to(table[pair >> 4] * factor, rows.values));
      pack.values[2 * j + 1] = rounded<T>(rounded_to(table[pair & 15] * factor, rows.values));
    }
  }
  store(out + row * stride + column, pack);
}

__device__ float code_value(std::uint8_t code, bool integers) {
  if (integers) return static_cast<float>(static_cast<std::int8_t>(code));
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
}

template <typename T, int N>
__global__ void tile_kernel(T* out, std::int64_t stride, Tiles t, PackedRows rows,
                            std::int64_t tiles_a_row) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x) * N;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kRows + threadIdx.y;
  if (column >= rows.columns || row >= rows.count) return;
  const std::int64_t at = rows.first + row;
  const float scale = t.scales[at / t.block_rows * tiles_a_row + column / t.block_columns];
  const auto codes =
      load<std::uint8_t, N>(static_cast<const std::uint8_t*>(t.codes) + at * rows.columns + column);
  Pack<T, N> pack;
  for (int j = 0; j < N; ++j) {
    const float scaled = __fmul_rn(code_value(codes.values[j], t.integers), scale);
    pack.values[j] = rounded<T>(rounded_to(scaled * t.factor, rows.values));
  }
  store(out + row * stride + column, pack);
}

dim3 grid_of(const PackedRows& rows, int pack) {
  const std::int64_t columns = static_cast<std::int64_t>(kColumns) * pack;
  return {static_cast<unsigned>((rows.columns + columns - 1) / columns),
          static_cast<unsigned>((rows.count + kRows - 1) / kRows), 1};
}

// The exponent of a power of two, else -1.
int shift_of(std::int64_t value) {
  if (value <= 0 || (value & (value - 1)) != 0) return -1;
  int shift = 0;
  while ((std::int64_t{1} << shift) < value) ++shift;
  return shift;
}

// Whether codes of a whole pack lie beside each other, at an aligned place, in one block.
bool packs_fit(Type type, const void* codes, std::int64_t block, int codes_a_byte) {
  const std::int64_t pack = kPackBytes / size_of(type);
  return block % pack == 0 && reinterpret_cast<std::uintptr_t>(codes) %
                                      static_cast<std::uintptr_t>(pack / codes_a_byte) ==
                                  0;
}

}  // namespace

void dequantise(Type type, Rows out, const Table& codes, const PackedRows& rows,
                cudaStream_t stream) {
  if (rows.count == 0 || rows.columns == 0) return;
  const bool wide =
      can_be_wide(type, rows.columns, {out}) && packs_fit(type, codes.codes, codes.block, 2);
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    table_kernel<T, kPack><<<grid_of(rows, kPack), dim3(kColumns, kRows), 0, stream>>>(
        static_cast<T*>(out.data), out.stride, codes, rows, shift_of(codes.block),
        shift_of(codes.nested_block));
  });
  check_launch("dequantise");
}

void dequantise(Type type, Rows out, const Tiles& codes, const PackedRows& rows,
                cudaStream_t stream) {
  if (rows.count == 0 || rows.columns == 0) return;
  const bool wide = can_be_wide(type, rows.columns, {out}) &&
                    packs_fit(type, codes.codes, codes.block_columns, 1);
  const std::int64_t tiles = (rows.columns + codes.block_columns - 1) / codes.block_columns;
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    tile_kernel<T, kPack><<<grid_of(rows, kPack), dim3(kColumns, kRows), 0, stream>>>(
        static_cast<T*>(out.data), out.stride, codes, rows, tiles);
  });
  check_launch("dequantise");
}

}  // namespace corda::kernels::cuda
