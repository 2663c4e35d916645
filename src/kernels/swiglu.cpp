// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/swiglu.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void swiglu(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& up) {
  const std::int64_t rows = out.size(0);
  const std::int64_t n = out.size(1);
  check_rows("swiglu", "the output", out, rows, n, out);
  check_rows("swiglu", "the gate", gate, rows, n, out);
  check_rows("swiglu", "up", up, rows, n, out);
  if (!out.is_cuda()) {
    out.copy_(at::silu(gate.to(at::kFloat)) * up.to(at::kFloat));
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::swiglu(type_of(out), rows_of(out), rows_of(gate), rows_of(up), rows, n, stream_of(out));
}

void swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad) {
  const std::int64_t rows = grad.size(0);
  const std::int64_t n = grad.size(1);
  check_rows("swiglu_backward", "the gradient", grad, rows, n, grad);
  check_rows("swiglu_backward", "the gate", gate, rows, n, grad);
  check_rows("swiglu_backward", "up", up, rows, n, grad);
  if (!grad.is_cuda()) {
    const at::Tensor g = gate.to(at::kFloat);
    const at::Tensor u = up.to(at::kFloat);
    const at::Tensor down = grad.to(at::kFloat);
    const at::Tensor sigmoid = at::sigmoid(g);
    const at::Tensor silu = g * sigmoid;
    // All three before the first is written: fp32 inputs are the very memory they go to.
    const at::Tensor grad_gate = down * u * (sigmoid + silu * (1 - sigmoid));
    const at::Tensor grad_up = down * silu;
    const at::Tensor output = silu * u;
    gate.copy_(grad_gate);
    up.copy_(grad_up);
    grad.copy_(output);
    return;
  }
  const c10::cuda::CUDAGuard guard(grad.device());
  cuda::swiglu_backward(type_of(grad), rows_of(gate), rows_of(up), rows_of(grad), rows, n,
                        stream_of(grad));
}

}  // namespace corda::kernels
