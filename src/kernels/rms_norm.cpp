// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/rms_norm.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "corda/core/error.h"
#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

// (offset + w) n for n = x / rms(x), both fp32, with the rounding to `type` that the kind has.
at::Tensor weighted(const at::Tensor& normed, const at::Tensor& weight, NormKind kind,
                    at::ScalarType type) {
  const at::Tensor n = kind.rounds_before_weight ? normed.to(type).to(at::kFloat) : normed;
  const at::Tensor factor = weight.to(at::kFloat);
  return n * (kind.offset == 0 ? factor : factor + kind.offset);
}

// dx for h = x / rms: (w dy - h mean(w dy h)) / rms, over the last dimension.
at::Tensor input_gradient(const at::Tensor& grad, const at::Tensor& normed,
                          const at::Tensor& inverse, const at::Tensor& weight, NormKind kind) {
  const at::Tensor scaled = grad.to(at::kFloat) * (weight.to(at::kFloat) + kind.offset);
  return (scaled - normed * (scaled * normed).mean(-1, /*keepdim=*/true)) * inverse;
}

at::Tensor inverse_rms(const at::Tensor& wide, double eps) {
  return at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps);
}

void forward_cpu(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
                 const at::Tensor& weight, double eps, NormKind kind) {
  const at::Tensor wide = x.to(at::kFloat);
  inv_rms.copy_(inverse_rms(wide, eps).squeeze(1));
  out.copy_(weighted(wide * inv_rms.unsqueeze(1), weight, kind, out.scalar_type()));
}

void backward_cpu(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                  const at::Tensor& inv_rms, const at::Tensor& weight, bool keep_output,
                  NormKind kind) {
  const at::Tensor inverse = inv_rms.unsqueeze(1);
  const at::Tensor normed = x.to(at::kFloat) * inverse;
  residual.copy_(residual.to(at::kFloat) + input_gradient(grad, normed, inverse, weight, kind));
  if (keep_output) grad.copy_(weighted(normed, weight, kind, grad.scalar_type()));
}

// [rows, groups * n] -> [rows, groups, n], a view.
at::Tensor grouped(const at::Tensor& x, const at::Tensor& weight) {
  return x.unflatten(1, {-1, weight.size(0)});
}

void check_groups(const char* function, const char* what, const at::Tensor& x,
                  const at::Tensor& like, const at::Tensor& weight) {
  check_rows(function, what, x, like.size(0), like.size(1), weight);
  if (x.size(1) % weight.size(0) != 0) {
    throw core::InternalError(core::concat("[kernels::", function, "] rows of ", x.size(1),
                                           " are no multiple of the weight's ", weight.size(0)));
  }
}

}  // namespace

void rms_norm(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
              const at::Tensor& weight, double eps, NormKind kind) {
  const std::int64_t rows = x.size(0);
  const std::int64_t n = weight.size(0);
  check_rows("rms_norm", "the input", x, rows, n, weight);
  check_rows("rms_norm", "the output", out, rows, n, weight);
  check_dense("rms_norm", "inv_rms", inv_rms, {rows}, at::kFloat, x);
  if (!x.is_cuda()) return forward_cpu(out, inv_rms, x, weight, eps, kind);
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rms_norm(type_of(x), rows_of(out), inv_rms.mutable_data_ptr<float>(), rows_of(x),
                 weight.const_data_ptr(), rows, n, static_cast<float>(eps), kind, stream_of(x));
}

void rms_norm_backward(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                       const at::Tensor& inv_rms, const at::Tensor& weight, bool keep_output,
                       NormKind kind) {
  const std::int64_t rows = x.size(0);
  const std::int64_t n = weight.size(0);
  check_rows("rms_norm_backward", "the input", x, rows, n, weight);
  check_rows("rms_norm_backward", "the gradient", grad, rows, n, weight);
  check_rows("rms_norm_backward", "the residual", residual, rows, n, weight);
  check_dense("rms_norm_backward", "inv_rms", inv_rms, {rows}, at::kFloat, x);
  if (!x.is_cuda()) return backward_cpu(grad, residual, x, inv_rms, weight, keep_output, kind);
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rms_norm_backward(type_of(x), rows_of(grad), rows_of(residual), rows_of(x),
                          inv_rms.const_data_ptr<float>(), weight.const_data_ptr(), rows, n,
                          keep_output, kind, stream_of(x));
}

void group_norm(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, double eps,
                NormKind kind) {
  check_groups("group_norm", "the input", x, x, weight);
  check_groups("group_norm", "the output", out, x, weight);
  if (!x.is_cuda()) {
    const at::Tensor wide = grouped(x.to(at::kFloat), weight);
    const at::Tensor normed = wide * inverse_rms(wide, eps);
    out.copy_(weighted(normed, weight, kind, out.scalar_type()).flatten(1));
    return;
  }
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::group_norm(type_of(x), rows_of(out), rows_of(x), weight.const_data_ptr(), x.size(0),
                   x.size(1) / weight.size(0), weight.size(0), static_cast<float>(eps), kind,
                   stream_of(x));
}

void group_norm_backward(const at::Tensor& x, const at::Tensor& grad, const at::Tensor& weight,
                         double eps, NormKind kind) {
  check_groups("group_norm_backward", "the input", x, x, weight);
  check_groups("group_norm_backward", "the gradient", grad, x, weight);
  if (!x.is_cuda()) {
    const at::Tensor wide = grouped(x.to(at::kFloat), weight);
    const at::Tensor inverse = inverse_rms(wide, eps);
    x.copy_(
        input_gradient(grouped(grad, weight), wide * inverse, inverse, weight, kind).flatten(1));
    return;
  }
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::group_norm_backward(type_of(x), rows_of(x), rows_of(grad), weight.const_data_ptr(),
                            x.size(0), x.size(1) / weight.size(0), weight.size(0),
                            static_cast<float>(eps), kind, stream_of(x));
}

}  // namespace corda::kernels
