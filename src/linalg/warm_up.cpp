// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/warm_up.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include <mutex>
#include <utility>

namespace corda::linalg {

namespace {

constexpr std::int64_t kSize = 64;

at::Tensor ones(at::Device device, at::ScalarType type, at::IntArrayRef shape) {
  return at::ones(shape, at::TensorOptions().device(device).dtype(type));
}

// One product of each type that models compute in.
void multiply(at::Device device) {
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat})
    at::mm(ones(device, type, {kSize, kSize}), ones(device, type, {kSize, kSize}));
}

// cuDNN's, where it has one.
void attend(at::Device device) {
  constexpr int kLeastMajor = 9;
  if (at::cuda::getDeviceProperties(device.index())->major < kLeastMajor) return;
  const at::Tensor heads = ones(device, at::kBFloat16, {1, 1, 2 * kSize, kSize});
  at::_scaled_dot_product_cudnn_attention(heads, heads, heads, /*attn_bias=*/{},
                                          /*compute_log_sumexp=*/true, /*dropout_p=*/0.0,
                                          /*is_causal=*/true);
}

}  // namespace

void load_decompositions(at::Device device) {
  static std::once_flag loaded;
  if (!device.is_cuda()) return;
  std::call_once(loaded, [&] { at::linalg_cholesky_ex(ones(device, at::kDouble, {1, 1})); });
}

WarmUp::WarmUp(at::Device device, WarmUpOf what) : device_(device) {
  if (!device.is_cuda()) return;
  background_.emplace(/*waiting=*/2);
  then(what);
}

void WarmUp::then(WarmUpOf what) {
  then([device = device_, what] {
    const at::NoGradGuard no_grad;
    ones(device, at::kFloat, {1});  // makes the context
    if (what == WarmUpOf::kContext) return;
    multiply(device);
    attend(device);
  });
}

void WarmUp::then(std::function<void()> more) {
  if (!background_) return;
  try {
    background_->add([device = device_, more = std::move(more)] {
      const c10::cuda::CUDAGuard guard(device);
      more();
    });
  } catch (const std::exception&) {  // of what came before
  }
}

void WarmUp::finish() {
  if (background_) background_->finish();
}

}  // namespace corda::linalg
