// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A thread moves a pack of neighbouring elements; a block's second dimension are rows.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kColumns = 64;  // packs
constexpr int kRows = 4;

template <typename T, int N>
__global__ void copy_rows_kernel(T* to, std::int64_t to_stride, const T* from,
                                 std::int64_t from_stride, std::int64_t rows, std::int64_t n) {
  const std::int64_t column = (static_cast<std::int64_t>(blockIdx.x) * kColumns + threadIdx.x) * N;
  if (column >= n) return;
  // A grid has fewer rows of blocks than a matrix may have rows.
  const std::int64_t step = static_cast<std::int64_t>(gridDim.y) * kRows;
  for (std::int64_t row = static_cast<std::int64_t>(blockIdx.y) * kRows + threadIdx.y; row < rows;
       row += step)
    store(to + row * to_stride + column, load<T, N>(from + row * from_stride + column));
}

}  // namespace

void copy_rows(Type type, Rows to, Rows from, std::int64_t rows, std::int64_t n,
               cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  constexpr std::int64_t kMostRowsOfBlocks = 65535;
  dispatch(type, can_be_wide(type, n, {to, from}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const std::int64_t across = static_cast<std::int64_t>(kColumns) * kPack;
    const std::int64_t down = (rows + kRows - 1) / kRows;
    const dim3 grid(static_cast<unsigned>((n + across - 1) / across),
                    static_cast<unsigned>(down < kMostRowsOfBlocks ? down : kMostRowsOfBlocks), 1);
    copy_rows_kernel<T, kPack><<<grid, dim3(kColumns, kRows), 0, stream>>>(
        static_cast<T*>(to.data), to.stride, static_cast<const T*>(from.data), from.stride, rows,
        n);
  });
  check_launch("copy_rows");
}

}  // namespace corda::kernels::cuda
