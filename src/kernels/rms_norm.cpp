// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/rms_norm.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

void forward_cpu(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
                 const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  inv_rms.copy_(at::rsqrt(wide.square().mean(1) + eps));
  out.copy_(wide * inv_rms.unsqueeze(1) * weight.to(at::kFloat));
}

void backward_cpu(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                  const at::Tensor& inv_rms, const at::Tensor& weight, bool keep_output) {
  const at::Tensor inverse = inv_rms.unsqueeze(1);
  const at::Tensor normed = x.to(at::kFloat) * inverse;
  const at::Tensor scaled = grad.to(at::kFloat) * weight.to(at::kFloat);
  const at::Tensor mean = (scaled * normed).mean(1, /*keepdim=*/true);
  residual.copy_(residual.to(at::kFloat) + (scaled - normed * mean) * inverse);
  if (keep_output) grad.copy_(normed * weight.to(at::kFloat));
}

}  // namespace

void rms_norm(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
              const at::Tensor& weight, double eps) {
  const std::int64_t rows = x.size(0);
  const std::int64_t n = weight.size(0);
  check_rows("rms_norm", "the input", x, rows, n, weight);
  check_rows("rms_norm", "the output", out, rows, n, weight);
  check_dense("rms_norm", "inv_rms", inv_rms, {rows}, at::kFloat, x);
  if (!x.is_cuda()) return forward_cpu(out, inv_rms, x, weight, eps);
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rms_norm(type_of(x), rows_of(out), inv_rms.mutable_data_ptr<float>(), rows_of(x),
                 weight.const_data_ptr(), rows, n, static_cast<float>(eps), stream_of(x));
}

void rms_norm_backward(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                       const at::Tensor& inv_rms, const at::Tensor& weight, bool keep_output) {
  const std::int64_t rows = x.size(0);
  const std::int64_t n = weight.size(0);
  check_rows("rms_norm_backward", "the input", x, rows, n, weight);
  check_rows("rms_norm_backward", "the gradient", grad, rows, n, weight);
  check_rows("rms_norm_backward", "the residual", residual, rows, n, weight);
  check_dense("rms_norm_backward", "inv_rms", inv_rms, {rows}, at::kFloat, x);
  if (!x.is_cuda()) return backward_cpu(grad, residual, x, inv_rms, weight, keep_output);
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rms_norm_backward(type_of(x), rows_of(grad), rows_of(residual), rows_of(x),
                          inv_rms.const_data_ptr<float>(), weight.const_data_ptr(), rows, n,
                          keep_output, stream_of(x));
}

}  // namespace corda::kernels
