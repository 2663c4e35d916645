// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/glu.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

const char* approximation_of(Activation activation) {
  return activation == Activation::kGelu ? "none" : "tanh";
}

at::Tensor slope_of(const at::Tensor& x, Activation activation) {
  const at::Tensor one = at::ones_like(x);
  return activation == Activation::kSilu ? at::silu_backward(one, x)
                                         : at::gelu_backward(one, x, approximation_of(activation));
}

// `what` names x, whose shape, dtype and device the others must have.
void check_three(const char* function, const char* what, const at::Tensor& x,
                 const at::Tensor& gate, const at::Tensor& up) {
  check_rows(function, what, x, x.size(0), x.size(1), x);
  check_rows(function, "the gate", gate, x.size(0), x.size(1), x);
  check_rows(function, "up", up, x.size(0), x.size(1), x);
}

}  // namespace

at::Tensor activate(const at::Tensor& x, Activation activation) {
  return activation == Activation::kSilu ? at::silu(x) : at::gelu(x, approximation_of(activation));
}

void glu(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& up,
         Activation activation) {
  const std::int64_t rows = out.size(0);
  const std::int64_t n = out.size(1);
  check_three("glu", "the output", out, gate, up);
  if (!out.is_cuda()) {
    out.copy_(activate(gate.to(at::kFloat), activation) * up.to(at::kFloat));
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::glu(type_of(out), activation, rows_of(out), rows_of(gate), rows_of(up), rows, n,
            stream_of(out));
}

void glu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad,
                  Activation activation, bool keep_output) {
  const std::int64_t rows = grad.size(0);
  const std::int64_t n = grad.size(1);
  check_three("glu_backward", "the gradient", grad, gate, up);
  if (!grad.is_cuda()) {
    const at::Tensor g = gate.to(at::kFloat);
    const at::Tensor u = up.to(at::kFloat);
    const at::Tensor down = grad.to(at::kFloat);
    const at::Tensor active = activate(g, activation);
    // All three are computed before the first is written, for fp32 inputs are the very memory that
    // they go to.
    const at::Tensor grad_gate = down * u * slope_of(g, activation);
    const at::Tensor grad_up = down * active;
    const at::Tensor output = active * u;
    gate.copy_(grad_gate);
    up.copy_(grad_up);
    if (keep_output) grad.copy_(output);
    return;
  }
  const c10::cuda::CUDAGuard guard(grad.device());
  cuda::glu_backward(type_of(grad), activation, rows_of(gate), rows_of(up), rows_of(grad), rows, n,
                     keep_output, stream_of(grad));
}

}  // namespace corda::kernels
