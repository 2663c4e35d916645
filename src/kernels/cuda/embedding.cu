// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A block does one row; in the backward, all rows of one id.
#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 256;

// Copies rows of the table from its type From to T, N elements at a time.
template <typename T, typename From, int N>
__global__ void embedding_forward_kernel(T* out, std::int64_t stride, const From* table,
                                         const std::int64_t* ids, std::int64_t n) {
  const std::int64_t row = blockIdx.x;
  const From* from = table + ids[row] * n;
  T* to = out + row * stride;
  for (std::int64_t i = threadIdx.x * N; i < n; i += kThreads * N) {
    const auto wide = load<From, N>(from + i);
    Pack<T, N> pack;
    for (int j = 0; j < N; ++j) pack.values[j] = rounded<T>(widen(wide.values[j]));
    store(to + i, pack);
  }
}

// The block of an id's first place in `sorted` adds up its rows; the others have nothing to do.
template <typename T, int N>
__global__ void embedding_backward_kernel(float* grad_table, const T* grad, std::int64_t stride,
                                          const std::int64_t* sorted, const std::int64_t* order,
                                          std::int64_t rows, std::int64_t n) {
  const std::int64_t first = blockIdx.x;
  const std::int64_t id = sorted[first];
  if (first > 0 && sorted[first - 1] == id) return;
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.y) * kThreads + threadIdx.x) * N;
  if (i >= n) return;
  float* to = grad_table + id * n + i;
  auto sum = load<float, N>(to);
  for (std::int64_t place = first; place < rows && sorted[place] == id; ++place) {
    const auto pack = load<T, N>(grad + order[place] * stride + i);
    for (int j = 0; j < N; ++j) sum.values[j] += widen(pack.values[j]);
  }
  store(to, sum);
}

}  // namespace

void embedding(Type type, Rows out, Type table_type, const void* table, const std::int64_t* ids,
               std::int64_t rows, std::int64_t n, cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  // A pack has as many elements as the narrower type puts into the widest load.
  const std::int64_t pack_bytes = kPackBytes / size_of(type) * size_of(table_type);
  const bool wide =
      can_be_wide(type, n, {out}) && reinterpret_cast<std::uintptr_t>(table) % pack_bytes == 0;
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const auto launch = [&](auto from) {
      using From = decltype(from);
      embedding_forward_kernel<T, From, kPack>
          <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
              static_cast<T*>(out.data), out.stride, static_cast<const From*>(table), ids, n);
    };
    table_type == type ? launch(T{}) : launch(float{});
  });
  check_launch("embedding");
}

void embedding_backward(Type type, float* grad_table, Rows grad, const std::int64_t* sorted,
                        const std::int64_t* order, std::int64_t rows, std::int64_t n,
                        cudaStream_t stream) {
  if (rows == 0 || n == 0) return;
  const std::int64_t pack_bytes = kPackBytes / size_of(type) * size_of(Type::kFloat);
  const bool wide = can_be_wide(type, n, {grad}) &&
                    reinterpret_cast<std::uintptr_t>(grad_table) % pack_bytes == 0;
  dispatch(type, wide, [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const std::int64_t columns = static_cast<std::int64_t>(kThreads) * kPack;
    const dim3 grid(static_cast<unsigned>(rows),
                    static_cast<unsigned>((n + columns - 1) / columns));
    embedding_backward_kernel<T, kPack><<<grid, kThreads, 0, stream>>>(
        grad_table, static_cast<const T*>(grad.data), grad.stride, sorted, order, rows, n);
  });
  check_launch("embedding_backward");
}

}  // namespace corda::kernels::cuda
