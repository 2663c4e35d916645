// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/rotary.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "corda/core/error.h"
#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

void check_angles(const char* function, const at::Tensor& cos, const at::Tensor& sin,
                  std::int64_t tokens, const at::Tensor& like) {
  const std::int64_t half = cos.size(-1);
  check_dense(function, "cos", cos, {tokens, half}, at::kFloat, like);
  check_dense(function, "sin", sin, {tokens, half}, at::kFloat, like);
}

void check_share(const char* function, const at::Tensor& cos, std::int64_t head_dim) {
  if (2 * cos.size(-1) <= head_dim) return;
  throw core::InternalError(core::concat("[kernels::", function, "] ", cos.size(-1),
                                         " angles are too many for a head of ", head_dim));
}

// x [tokens, heads, head_dim] turned by the angles times `direction`, in fp32.
at::Tensor rotated_cpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       double direction, const RotaryShape& shape) {
  const std::int64_t half = cos.size(-1);
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor turned = wide.narrow(2, 0, 2 * half);
  const at::Tensor a =
      shape.interleaved ? turned.slice(2, 0, 2 * half, 2) : turned.narrow(2, 0, half);
  const at::Tensor b =
      shape.interleaved ? turned.slice(2, 1, 2 * half, 2) : turned.narrow(2, half, half);
  const at::Tensor c = cos.unsqueeze(1);
  const at::Tensor s = sin.unsqueeze(1) * direction;
  const at::Tensor low = a * c - b * s;
  const at::Tensor high = b * c + a * s;
  const at::Tensor both =
      shape.interleaved ? at::stack({low, high}, -1).flatten(2) : at::cat({low, high}, -1);
  return 2 * half == shape.head_dim
             ? both
             : at::cat({both, wide.narrow(2, 2 * half, shape.head_dim - 2 * half)}, -1);
}

cuda::HeadShape head_shape(const RotaryShape& shape, const at::Tensor& cos) {
  return {.head_dim = shape.head_dim, .half = cos.size(-1), .interleaved = shape.interleaved};
}

}  // namespace

void rotate(const at::Tensor& x, std::int64_t heads, const at::Tensor& cos, const at::Tensor& sin,
            RotaryShape shape) {
  const std::int64_t tokens = x.size(0);
  const std::int64_t d = shape.head_dim;
  const at::Tensor turned = x.narrow(1, 0, heads * d);
  check_rows("rotate", "the input", turned, tokens, heads * d, x);
  check_share("rotate", cos, d);
  check_angles("rotate", cos, sin, tokens, x);
  if (!x.is_cuda()) {
    turned.copy_(rotated_cpu(turned.unflatten(1, {heads, d}), cos, sin, 1, shape).flatten(1));
    return;
  }
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rotate(type_of(x), rows_of(x), cos.const_data_ptr<float>(), sin.const_data_ptr<float>(),
               tokens, heads, head_shape(shape, cos), stream_of(x));
}

void gather_rotated_back(const at::Tensor& out, const at::Tensor& dq, const at::Tensor& dk,
                         const at::Tensor& dv, const at::Tensor& cos, const at::Tensor& sin,
                         RotaryShape shape) {
  const char* function = "gather_rotated_back";
  const std::int64_t tokens = out.size(0);
  const std::int64_t heads = dq.size(1);
  const std::int64_t kv_heads = dk.size(1);
  const std::int64_t d = shape.head_dim;
  check_share(function, cos, d);
  check_rows(function, "the output", out, tokens, (heads + 2 * kv_heads) * d, out);
  check_dense(function, "dq", dq, {tokens, heads, d}, out.scalar_type(), out);
  check_dense(function, "dk", dk, {tokens, kv_heads, d}, out.scalar_type(), out);
  check_dense(function, "dv", dv, {tokens, kv_heads, d}, out.scalar_type(), out);
  check_angles(function, cos, sin, tokens, out);
  if (!out.is_cuda()) {
    out.copy_(
        at::cat({rotated_cpu(dq, cos, sin, -1, shape).flatten(1),
                 rotated_cpu(dk, cos, sin, -1, shape).flatten(1), dv.to(at::kFloat).flatten(1)},
                1));
    return;
  }
  const c10::cuda::CUDAGuard guard(out.device());
  cuda::gather_rotated_back(type_of(out), rows_of(out),
                            {.q = dq.const_data_ptr(),
                             .k = dk.const_data_ptr(),
                             .v = dv.const_data_ptr(),
                             .heads = heads,
                             .kv_heads = kv_heads},
                            cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), tokens,
                            head_shape(shape, cos), stream_of(out));
}

}  // namespace corda::kernels
