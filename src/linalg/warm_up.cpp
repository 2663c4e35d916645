// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/warm_up.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "linalg/cuda/cusolver.h"

namespace corda::linalg {

namespace {

// One product of each type, and one small problem for every routine that decompositions call.
void use_libraries(at::Device device) {
  constexpr std::int64_t kSize = 64;
  const c10::cuda::CUDAGuard guard(device);
  const at::NoGradGuard no_grad;
  const auto ones = [&](at::ScalarType type) {
    return at::ones({kSize, kSize}, at::TensorOptions().device(device).dtype(type));
  };
  for (const at::ScalarType type : {at::kBFloat16, at::kFloat, at::kDouble})
    at::mm(ones(type), ones(type));
  cuda::Solver solver(device);
  at::Tensor matrix = at::eye(kSize, at::TensorOptions().device(device).dtype(at::kDouble));
  at::Tensor rows = matrix.clone();
  const at::Tensor tau = solver.qr(matrix);
  solver.apply_q(matrix, tau, rows);
  solver.invert_lower(rows.fill_(1).tril_());
  solver.eigen_top(rows, kSize / 2);
}

}  // namespace

WarmUp::WarmUp(at::Device device) {
  if (!device.is_cuda()) return;
  background_.emplace(/*waiting=*/1);
  background_->add([device] { use_libraries(device); });
}

void WarmUp::finish() {
  if (background_) background_->finish();
}

}  // namespace corda::linalg
