// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A block turns a square of bytes by way of shared memory: a warp reads and writes 128 neighbouring
// bytes at a time, and a thread turns 4 x 4 of them in its registers.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kWord = 4;                 // bytes
constexpr int kLanes = 32;               // words across a square
constexpr int kWarps = 8;                // rows of words at a time
constexpr int kSide = kLanes * kWord;    // bytes
constexpr std::uint32_t kEven = 0x5140;  // bytes 0 of two words, then their bytes 1
constexpr std::uint32_t kOdd = 0x7362;   // bytes 2, then bytes 3
constexpr std::uint32_t kLow = 0x5410;   // the lower halves of two words
constexpr std::uint32_t kHigh = 0x7632;  // their upper halves

// Up to `count` bytes from an address; those beyond are zeros. kWords: count is no fewer than four.
template <bool kWords>
__device__ std::uint32_t load_word(const std::uint8_t* from, std::int64_t count) {
  if constexpr (kWords) return *reinterpret_cast<const std::uint32_t*>(from);
  std::uint32_t word = 0;
  for (int j = 0; j < kWord && j < count; ++j)
    word |= static_cast<std::uint32_t>(from[j]) << (8 * j);
  return word;
}

template <bool kWords>
__device__ void store_word(std::uint8_t* to, std::uint32_t word, std::int64_t count) {
  if constexpr (kWords) {
    *reinterpret_cast<std::uint32_t*>(to) = word;
  } else {
    for (int j = 0; j < kWord && j < count; ++j) to[j] = static_cast<std::uint8_t>(word >> (8 * j));
  }
}

template <bool kWords>
__global__ void transpose_bytes_kernel(std::uint8_t* to, std::int64_t to_stride,
                                       const std::uint8_t* from, std::int64_t from_stride,
                                       std::int64_t rows, std::int64_t n) {
  // Word w of row i stands at place(i, w), so that the words which a warp reads from its rows below
  // one another lie in other banks.
  __shared__ std::uint32_t square[kSide][kLanes];
  const auto place = [](int row, int word) { return word ^ (row / kWord % kLanes); };
  const std::int64_t first_row = static_cast<std::int64_t>(blockIdx.y) * kSide;
  const std::int64_t first_column = static_cast<std::int64_t>(blockIdx.x) * kSide;
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = static_cast<int>(threadIdx.y); i < kSide; i += kWarps) {
    const std::int64_t row = first_row + i;
    const std::int64_t column = first_column + kWord * lane;
    square[i][place(i, lane)] =
        row < rows && column < n ? load_word<kWords>(from + row * from_stride + column, n - column)
                                 : 0;
  }
  __syncthreads();
  const std::int64_t row = first_row + kWord * lane;
  if (row >= rows) return;
  for (int word = static_cast<int>(threadIdx.y); word < kLanes; word += kWarps) {
    std::uint32_t w[kWord];
    for (int k = 0; k < kWord; ++k) w[k] = square[kWord * lane + k][place(kWord * lane, word)];
    const std::uint32_t even[] = {__byte_perm(w[0], w[1], kEven), __byte_perm(w[2], w[3], kEven)};
    const std::uint32_t odd[] = {__byte_perm(w[0], w[1], kOdd), __byte_perm(w[2], w[3], kOdd)};
    const std::uint32_t turned[kWord] = {
        __byte_perm(even[0], even[1], kLow), __byte_perm(even[0], even[1], kHigh),
        __byte_perm(odd[0], odd[1], kLow), __byte_perm(odd[0], odd[1], kHigh)};
    for (int j = 0; j < kWord; ++j) {
      const std::int64_t column = first_column + kWord * word + j;
      if (column < n) store_word<kWords>(to + column * to_stride + row, turned[j], rows - row);
    }
  }
}

}  // namespace

void transpose_bytes(Rows to, Rows from, std::int64_t rows, std::int64_t n, cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  const bool words =
      rows % kWord == 0 && n % kWord == 0 && aligned(to, 1, kWord) && aligned(from, 1, kWord);
  const auto kernel = words ? transpose_bytes_kernel<true> : transpose_bytes_kernel<false>;
  const dim3 grid(static_cast<unsigned>((n + kSide - 1) / kSide),
                  static_cast<unsigned>((rows + kSide - 1) / kSide), 1);
  kernel<<<grid, dim3(kLanes, kWarps), 0, stream>>>(static_cast<std::uint8_t*>(to.data), to.stride,
                                                    static_cast<const std::uint8_t*>(from.data),
                                                    from.stride, rows, n);
  check_launch("transpose_bytes");
}

}  // namespace corda::kernels::cuda
