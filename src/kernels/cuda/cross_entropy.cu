// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a row: a first pass finds the largest logit and the sum of exponentials together, a
// second writes the gradient over the logits, which the cache still holds.
#include <cfloat>

#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 512;

// sum = sum of exp(x - largest) over what was seen.
struct Softmax {
  float largest = -FLT_MAX;
  float sum = 0;
};

__device__ Softmax merged(const Softmax& a, const Softmax& b) {
  const float largest = fmaxf(a.largest, b.largest);
  return {largest, a.sum * __expf(a.largest - largest) + b.sum * __expf(b.largest - largest)};
}

__device__ Softmax over_block(Softmax mine, Softmax* shared) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const Softmax other{__shfl_xor_sync(0xffffffffU, mine.largest, offset),
                        __shfl_xor_sync(0xffffffffU, mine.sum, offset)};
    mine = merged(mine, other);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
  __syncthreads();
  Softmax all = shared[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) all = merged(all, shared[warp]);
  return all;
}

// A logit as the loss sees it; cap 0: as it is.
__device__ float capped(float logit, float cap) {
  return cap > 0 ? cap * tanhf(logit / cap) : logit;
}

template <typename T, int N>
__global__ void cross_entropy_kernel(float* loss, T* logits, std::int64_t stride,
                                     const std::int64_t* targets, std::int64_t vocab,
                                     const float* scale_at, float cap) {
  __shared__ Softmax shared[kThreads / 32];
  T* row = logits + static_cast<std::int64_t>(blockIdx.x) * stride;
  Softmax mine;
  for (std::int64_t i = threadIdx.x * N; i < vocab; i += kThreads * N) {
    const auto pack = load<T, N>(row + i);
    float largest = mine.largest;
    float values[N];
    for (int j = 0; j < N; ++j) {
      values[j] = capped(widen(pack.values[j]), cap);
      largest = fmaxf(largest, values[j]);
    }
    mine.sum *= __expf(mine.largest - largest);
    mine.largest = largest;
    for (int j = 0; j < N; ++j) mine.sum += __expf(values[j] - largest);
  }
  const Softmax all = over_block(mine, shared);
  const std::int64_t target = targets[blockIdx.x];
  const bool counts = target >= 0;
  const float scale = counts ? *scale_at : 0.0F;
  if (threadIdx.x == 0)
    loss[blockIdx.x] =
        counts ? logf(all.sum) + all.largest - capped(widen(row[target]), cap) : 0.0F;
  __syncthreads();  // the target's logit was read before it is overwritten
  const float normaliser = scale / all.sum;
  for (std::int64_t i = threadIdx.x * N; i < vocab; i += kThreads * N) {
    auto pack = load<T, N>(row + i);
    for (int j = 0; j < N; ++j) {
      const float value = capped(widen(pack.values[j]), cap);
      const float softmax = __expf(value - all.largest) * normaliser;
      const float slope = cap > 0 ? 1.0F - value / cap * (value / cap) : 1.0F;
      pack.values[j] = rounded<T>((i + j == target ? softmax - scale : softmax) * slope);
    }
    store(row + i, pack);
  }
}

}  // namespace

void cross_entropy(Type type, float* loss, Rows logits, const std::int64_t* targets,
                   std::int64_t rows, std::int64_t vocab, const float* scale, float soft_cap,
                   cudaStream_t stream) {
  if (rows == 0) return;
  dispatch(type, can_be_wide(type, vocab, {logits}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    cross_entropy_kernel<T, decltype(variant)::kPack>
        <<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
            loss, static_cast<T*>(logits.data), logits.stride, targets, vocab, scale, soft_cap);
  });
  check_launch("cross_entropy");
}

}  // namespace corda::kernels::cuda
