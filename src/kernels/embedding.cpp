// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/embedding.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

void embedding(const at::Tensor& out, const at::Tensor& table, const at::Tensor& ids) {
  const std::int64_t rows = out.size(0);
  const std::int64_t n = out.size(1);
  check_rows("embedding", "the output", out, rows, n, out);
  const at::ScalarType type = table.scalar_type() == at::kFloat ? at::kFloat : out.scalar_type();
  check_dense("embedding", "the table", table, {table.size(0), n}, type, out);
  check_dense("embedding", "the ids", ids, {rows}, at::kLong, out);
  if (!out.is_cuda()) {
    out.copy_(table.index_select(0, ids));
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::embedding(type_of(out), rows_of(out), type_of(table), table.const_data_ptr(),
                  ids.const_data_ptr<std::int64_t>(), rows, n, stream_of(out));
}

void embedding_backward(const at::Tensor& grad_table, const at::Tensor& grad,
                        const at::Tensor& ids) {
  const std::int64_t rows = grad.size(0);
  const std::int64_t n = grad.size(1);
  check_rows("embedding_backward", "the gradient", grad, rows, n, grad);
  check_dense("embedding_backward", "the table's gradient", grad_table, {grad_table.size(0), n},
              at::kFloat, grad);
  check_dense("embedding_backward", "the ids", ids, {rows}, at::kLong, grad);
  if (rows == 0) return;
  if (!grad.is_cuda()) {
    grad_table.index_add_(0, ids, grad.to(at::kFloat));
    return;
  }
  const c10::cuda::CUDAGuard guard(grad.device());
  const auto [sorted, order] = at::sort(ids, /*stable=*/true, /*dim=*/0, /*descending=*/false);
  cuda::embedding_backward(type_of(grad), grad_table.mutable_data_ptr<float>(), rows_of(grad),
                           sorted.const_data_ptr<std::int64_t>(),
                           order.const_data_ptr<std::int64_t>(), rows, n, stream_of(grad));
}

}  // namespace corda::kernels
