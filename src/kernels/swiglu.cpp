// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/swiglu.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void swiglu(const at::Tensor& out, const at::Tensor& gate_up) {
  const std::int64_t rows = out.size(0);
  const std::int64_t n = out.size(1);
  check_rows("swiglu", "the output", out, rows, n, out);
  check_rows("swiglu", "gate and up", gate_up, rows, 2 * n, out);
  if (!out.is_cuda()) {
    const auto halves = gate_up.to(at::kFloat).chunk(2, 1);
    out.copy_(at::silu(halves[0]) * halves[1]);
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::swiglu(type_of(out), rows_of(out), rows_of(gate_up), rows, n, stream_of(out));
}

void swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad) {
  const std::int64_t rows = grad.size(0);
  const std::int64_t n = grad.size(1);
  check_rows("swiglu_backward", "the gradient", grad, rows, n, grad);
  check_rows("swiglu_backward", "gate and up", gate_up, rows, 2 * n, grad);
  if (!grad.is_cuda()) {
    const auto halves = gate_up.to(at::kFloat).chunk(2, 1);
    const at::Tensor sigmoid = at::sigmoid(halves[0]);
    const at::Tensor silu = halves[0] * sigmoid;
    const at::Tensor down = grad.to(at::kFloat);
    const at::Tensor output = silu * halves[1];
    gate_up.copy_(at::cat({down * halves[1] * (sigmoid + silu * (1 - sigmoid)), down * silu}, 1));
    grad.copy_(output);
    return;
  }
  const c10::cuda::CUDAGuard guard(grad.device());
  cuda::swiglu_backward(type_of(grad), rows_of(gate_up), rows_of(grad), rows, n, stream_of(grad));
}

}  // namespace corda::kernels
