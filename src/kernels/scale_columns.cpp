// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/scale_columns.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void scale_columns(const at::Tensor& out, const at::Tensor& y, const at::Tensor& factor) {
  const std::int64_t rows = out.size(0);
  const std::int64_t n = out.size(1);
  check_rows("scale_columns", "the output", out, rows, n, out);
  check_rows("scale_columns", "y", y, rows, n, out);
  check_dense("scale_columns", "the factor", factor, {n}, at::kFloat, out);
  if (!out.is_cuda()) {
    out.copy_(y.to(at::kFloat) * factor);
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::scale_columns(type_of(out), rows_of(out), rows_of(y), factor.const_data_ptr<float>(), rows,
                      n, stream_of(out));
}

void scale_columns_backward(const at::Tensor& dy, const at::Tensor& grad_factor,
                            const at::Tensor& grad, const at::Tensor& y, const at::Tensor& factor) {
  const std::int64_t rows = grad.size(0);
  const std::int64_t n = grad.size(1);
  check_rows("scale_columns_backward", "the gradient", grad, rows, n, grad);
  check_rows("scale_columns_backward", "the gradient of y", dy, rows, n, grad);
  check_rows("scale_columns_backward", "y", y, rows, n, grad);
  check_dense("scale_columns_backward", "the factor", factor, {n}, at::kFloat, grad);
  check_dense("scale_columns_backward", "the factor's gradient", grad_factor, {n}, at::kFloat,
              grad);
  if (!grad.is_cuda()) {
    const at::Tensor wide = grad.to(at::kFloat);
    grad_factor.copy_((wide * y.to(at::kFloat)).sum(0));
    dy.copy_(wide * factor);
    return;
  }
  const c10::cuda::CUDAGuard guard(grad.device());
  const at::Tensor partial = at::empty({cuda::kScaleColumnsParts, n}, factor.options());
  cuda::scale_columns_backward(type_of(grad), rows_of(dy), grad_factor.mutable_data_ptr<float>(),
                               partial.mutable_data_ptr<float>(), rows_of(grad), rows_of(y),
                               factor.const_data_ptr<float>(), rows, n, stream_of(grad));
}

}  // namespace corda::kernels
