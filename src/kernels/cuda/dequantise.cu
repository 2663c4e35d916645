// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A thread makes packs of neighbouring values, one in each of some rows; a block's second dimension
// are rows. The work is bounded by writing: 2 bytes a value, beside half a byte or one that is
// read.
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <type_traits>

#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kColumns = 64;  // packs
constexpr int kRows = 4;
// Packs of a thread, kRows rows apart. Loads that hang on each other (a code, its factor) are many
// cycles; those of all packs are on the way together.
constexpr int kPasses = 4;
constexpr int kRowsOfBlock = kRows * kPasses;
constexpr int kTable = 16;
constexpr int kNestedTable = 256;
static_assert(kColumns * kRows == kNestedTable, "a thread loads one value of the nested table");

__device__ float rounded_to(float value, Values values) {
  if (values == Values::kBFloat16) return __bfloat162float(__float2bfloat16_rn(value));
  if (values == Values::kHalf) return __half2float(__float2half_rn(value));
  return value;
}

// Where a pack lies in one block and blocks are powers of two, `shift` takes the place of a
// division by `size`.
template <int N>
__device__ std::int64_t block_of(std::int64_t element, std::int64_t size, int shift) {
  return N > 1 ? element >> shift : element / size;
}

// The factors of the blocks that hold the elements in `first`. Of nested ones the product and the
// sum are rounded one after the other, as on the host; a fused one would differ.
template <int N>
__device__ void load_factors(float (&factors)[kPasses], const std::int64_t (&first)[kPasses],
                             const Table& t, const float* nested_table, int shift,
                             int nested_shift) {
  std::int64_t blocks[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass)
    blocks[pass] = block_of<N>(first[pass], t.block, shift);
  if (t.absmax != nullptr) {
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) factors[pass] = t.absmax[blocks[pass]];
    return;
  }
  std::uint8_t codes[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    codes[pass] = t.nested_codes[blocks[pass]];
    factors[pass] = t.nested_absmax[block_of<N>(blocks[pass], t.nested_block, nested_shift)];
  }
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass)
    factors[pass] = __fadd_rn(__fmul_rn(nested_table[codes[pass]], factors[pass]), t.nested_offset);
}

// The row of a pass, or the last one behind it, which is read in vain.
__device__ std::int64_t row_of(int pass, const PackedRows& rows) {
  const std::int64_t row =
      static_cast<std::int64_t>(blockIdx.y) * kRowsOfBlock + pass * kRows + threadIdx.y;
  return row < rows.count ? row : rows.count - 1;
}

// A pack of the codes in `pairs`, of which an odd `first` means the lower half where N is 1.
template <typename T, int N, bool kRounds>
__device__ Pack<T, N> values_of(const Pack<std::uint8_t, (N + 1) / 2>& pairs, std::int64_t first,
                                const float* table, float factor, Values values) {
  const auto value = [&](int code) {
    const float product = table[code] * factor;
    return rounded<T>(kRounds ? rounded_to(product, values) : product);
  };
  Pack<T, N> pack;
  if constexpr (N == 1) {
    pack.values[0] = value(first % 2 == 0 ? pairs.values[0] >> 4 : pairs.values[0] & 15);
  } else {
#pragma unroll
    for (int j = 0; j < N / 2; ++j) {
      pack.values[2 * j] = value(pairs.values[j] >> 4);
      pack.values[2 * j + 1] = value(pairs.values[j] & 15);
    }
  }
  return pack;
}

template <typename T, int N, bool kRounds>
__global__ void table_kernel(T* out, std::int64_t stride, Table t, PackedRows rows, int shift,
                             int nested_shift) {
  __shared__ float table[kTable];
  __shared__ float nested_table[kNestedTable];
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  if (thread < kTable) table[thread] = t.table[thread];
  if (t.absmax == nullptr) nested_table[thread] = t.nested_table[thread];
  __syncthreads();
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x) * N;
  if (column >= rows.columns) return;
  std::int64_t first[kPasses];
  Pack<std::uint8_t, (N + 1) / 2> pairs[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    first[pass] = (rows.first + row_of(pass, rows)) * rows.columns + column;
    pairs[pass] = load<std::uint8_t, (N + 1) / 2>(t.codes + first[pass] / 2);
  }
  float factors[kPasses];
  load_factors<N>(factors, first, t, nested_table, shift, nested_shift);
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass)
    store(out + row_of(pass, rows) * stride + column,
          values_of<T, N, kRounds>(pairs[pass], first[pass], table, factors[pass], rows.values));
}

__device__ float code_value(std::uint8_t code, bool integers) {
  if (integers) return static_cast<float>(static_cast<std::int8_t>(code));
  return __half2float(__half(__nv_cvt_fp8_to_halfraw(code, __NV_E4M3)));
}

// Rows and columns are fewer than 2^32; dividing 32 bits is much faster.
__device__ std::int64_t quotient(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
}

template <typename T, int N, bool kRounds>
__global__ void tile_kernel(T* out, std::int64_t stride, Tiles t, PackedRows rows,
                            std::int64_t tiles_a_row) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x) * N;
  if (column >= rows.columns) return;
  const float* scales = t.scales + quotient(column, t.block_columns);
  Pack<std::uint8_t, N> codes[kPasses];
  float factors[kPasses];
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::int64_t row = rows.first + row_of(pass, rows);
    codes[pass] = load<std::uint8_t, N>(static_cast<const std::uint8_t*>(t.codes) +
                                        row * rows.columns + column);
    factors[pass] = scales[quotient(row, t.block_rows) * tiles_a_row];
  }
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    Pack<T, N> pack;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float scaled = __fmul_rn(code_value(codes[pass].values[j], t.integers), factors[pass]);
      const float value = scaled * t.factor;
      pack.values[j] = rounded<T>(kRounds ? rounded_to(value, rows.values) : value);
    }
    store(out + row_of(pass, rows) * stride + column, pack);
  }
}

dim3 grid_of(const PackedRows& rows, int pack) {
  const std::int64_t columns = static_cast<std::int64_t>(kColumns) * pack;
  return {static_cast<unsigned>((rows.columns + columns - 1) / columns),
          static_cast<unsigned>((rows.count + kRowsOfBlock - 1) / kRowsOfBlock), 1};
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

// Whether rounding to `values` first gives anything else than rounding to T at once.
template <typename T>
bool rounds_first(Values values) {
  if (values == Values::kBFloat16) return sizeof(T) == sizeof(float);
  return values == Values::kHalf;
}

// Calls `launch` with the type, the size of a pack and whether values are rounded first.
template <typename Launch>
void dispatch_rounding(Type type, bool wide, Values values, Launch&& launch) {
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    if (rounds_first<T>(values)) {
      launch(variant, std::true_type{});
    } else {
      launch(variant, std::false_type{});
    }
  });
}

}  // namespace

void dequantise(Type type, Rows out, const Table& codes, const PackedRows& rows,
                cudaStream_t stream) {
  if (rows.count == 0 || rows.columns == 0) return;
  const int shift = shift_of(codes.block);
  const int nested_shift = codes.absmax == nullptr ? shift_of(codes.nested_block) : 0;
  const bool wide = can_be_wide(type, rows.columns, {out}) && shift >= 0 && nested_shift >= 0 &&
                    packs_fit(type, codes.codes, codes.block, 2);
  dispatch_rounding(type, wide, rows.values, [&](auto variant, auto rounds) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    table_kernel<T, kPack, decltype(rounds)::value>
        <<<grid_of(rows, kPack), dim3(kColumns, kRows), 0, stream>>>(
            static_cast<T*>(out.data), out.stride, codes, rows, shift, nested_shift);
  });
  check_launch("dequantise");
}

void dequantise(Type type, Rows out, const Tiles& codes, const PackedRows& rows,
                cudaStream_t stream) {
  if (rows.count == 0 || rows.columns == 0) return;
  const bool wide = can_be_wide(type, rows.columns, {out}) &&
                    packs_fit(type, codes.codes, codes.block_columns, 1);
  const std::int64_t tiles = (rows.columns + codes.block_columns - 1) / codes.block_columns;
  dispatch_rounding(type, wide, rows.values, [&](auto variant, auto rounds) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    tile_kernel<T, kPack, decltype(rounds)::value>
        <<<grid_of(rows, kPack), dim3(kColumns, kRows), 0, stream>>>(
            static_cast<T*>(out.data), out.stride, codes, rows, tiles);
  });
  check_launch("dequantise");
}

}  // namespace corda::kernels::cuda
