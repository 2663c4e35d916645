// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One block a row: a first pass finds the largest logit and the sum of exponentials together, a
// second writes the gradient over the logits, which the cache still holds. Between them, where the
// gradient is weighed by the entropy of the likeliest tokens, these are found one after the other.
#include <cfloat>

#include "kernels/cuda/device.cuh"

namespace corda::kernels::cuda {

namespace {

constexpr int kThreads = 512;

// The largest logit that was seen, and the sum of exp(x - largest).
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

// The largest of a thread's logits below a bound, and how many are equal to it.
struct Candidate {
  float logit = -FLT_MAX;
  int count = 0;
};

__device__ Candidate merged(const Candidate& a, const Candidate& b) {
  if (a.logit != b.logit) return a.logit > b.logit ? a : b;
  return {a.logit, a.count + b.count};
}

__device__ Candidate over_block(Candidate mine, Candidate* shared) {
  for (int offset = 16; offset > 0; offset /= 2) {
    const Candidate other{__shfl_xor_sync(0xffffffffU, mine.logit, offset),
                          __shfl_xor_sync(0xffffffffU, mine.count, offset)};
    mine = merged(mine, other);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = mine;
  __syncthreads();
  Candidate all = shared[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) all = merged(all, shared[warp]);
  __syncthreads();
  return all;
}

// The largest of this thread's logits below `bound`.
template <typename T, int N>
__device__ Candidate next_below(const T* row, std::int64_t vocab, float cap, float bound) {
  Candidate best;
  for (std::int64_t i = threadIdx.x * N; i < vocab; i += kThreads * N) {
    const auto pack = load<T, N>(row + i);
    for (int j = 0; j < N; ++j) {
      const float value = capped(widen(pack.values[j]), cap);
      if (value < bound) best = merged(best, Candidate{value, 1});
    }
  }
  return best;
}

// (entropy of the likeliest tokens over its largest value)^power. Every thread holds the largest of
// its own logits that were not taken yet, and looks through them again only where one was taken; so
// that 20 rounds read little more than 20 threads' parts of the row.
template <typename T, int N>
__device__ float entropy_weight(const T* row, std::int64_t vocab, float cap, float power,
                                Candidate* shared) {
  Candidate mine = next_below<T, N>(row, vocab, cap, FLT_MAX);
  float largest = 0;
  float sum = 0;       // of exp(x - largest)
  float weighted = 0;  // of exp(x - largest) (x - largest)
  for (int taken = 0; taken < kLikeliest;) {
    const Candidate best = over_block(mine, shared);
    if (best.count == 0) break;  // a smaller vocabulary
    if (taken == 0) largest = best.logit;
    const float below = best.logit - largest;
    const auto count = static_cast<float>(min(best.count, kLikeliest - taken));
    sum += count * __expf(below);
    weighted += count * __expf(below) * below;
    taken += best.count;
    if (mine.logit == best.logit) mine = next_below<T, N>(row, vocab, cap, best.logit);
  }
  const float entropy = logf(sum) - weighted / sum;
  return powf(fmaxf(entropy, 0.0F) / logf(static_cast<float>(kLikeliest)), power);
}

template <typename T, int N, bool kWeighs>
__global__ void cross_entropy_kernel(float* loss, T* logits, std::int64_t stride,
                                     const std::int64_t* targets, std::int64_t vocab,
                                     const float* scale_at, float cap, float power) {
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
  float scale = counts ? *scale_at : 0.0F;
  if constexpr (kWeighs) {
    __shared__ Candidate candidates[kThreads / 32];
    if (counts) scale *= entropy_weight<T, N>(row, vocab, cap, power, candidates);
  }
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
                   float entropy_power, cudaStream_t stream) {
  if (rows == 0) return;
  dispatch(type, can_be_wide(type, vocab, {logits}), [&](auto variant) {
    using T = typename decltype(variant)::Element;
    constexpr int kPack = decltype(variant)::kPack;
    const auto kernel = entropy_power > 0 ? cross_entropy_kernel<T, kPack, true>
                                          : cross_entropy_kernel<T, kPack, false>;
    kernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(loss, static_cast<T*>(logits.data),
                                                                 logits.stride, targets, vocab,
                                                                 scale, soft_cap, entropy_power);
  });
  check_launch("cross_entropy");
}

}  // namespace corda::kernels::cuda
