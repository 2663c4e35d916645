// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/warm_up.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include <utility>

#include "linalg/cuda/cusolver.h"
#include "linalg/dense.h"

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

// One small problem for every routine that decompositions call, those of the fast routes first:
// most layers need no other.
void decompose(at::Device device) {
  at::mm(ones(device, at::kDouble, {kSize, kSize}), ones(device, at::kDouble, {kSize, kSize}));
  at::Tensor matrix = at::eye(kSize, at::TensorOptions().device(device).dtype(at::kDouble));
  const at::Tensor lower = cholesky("the identity", matrix);
  solve(lower, matrix);
  solve_transposed(lower, matrix);
  at::cholesky_inverse(lower);
  eigenpairs(matrix);
  cuda::Solver solver(device);
  at::Tensor rows = matrix.clone();
  const at::Tensor tau = solver.qr(matrix);
  solver.apply_q(matrix, tau, rows);
  solver.invert_lower(rows.fill_(1).tril_());
  solver.eigen_top(rows, kSize / 2);
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
    if (what != WarmUpOf::kDecompositions) multiply(device);
    what == WarmUpOf::kProducts ? attend(device) : decompose(device);
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
