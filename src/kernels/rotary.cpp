// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/rotary.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>

#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

void check_angles(const char* function, const at::Tensor& cos, const at::Tensor& sin,
                  std::int64_t tokens, const at::Tensor& like) {
  const std::int64_t half = cos.size(-1);
  check_dense(function, "cos", cos, {tokens, half}, at::kFloat, like);
  check_dense(function, "sin", sin, {tokens, half}, at::kFloat, like);
}

// x [tokens, heads, d] turned by the angles times `direction`, in fp32.
at::Tensor rotated_cpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                       double direction) {
  const auto halves = x.to(at::kFloat).chunk(2, -1);
  const at::Tensor c = cos.unsqueeze(1);
  const at::Tensor s = sin.unsqueeze(1) * direction;
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
}

}  // namespace

void rotate(const at::Tensor& x, std::int64_t heads, const at::Tensor& cos, const at::Tensor& sin) {
  const std::int64_t tokens = x.size(0);
  const std::int64_t half = cos.size(-1);
  const at::Tensor turned = x.narrow(1, 0, heads * 2 * half);
  check_rows("rotate", "the input", turned, tokens, heads * 2 * half, x);
  check_angles("rotate", cos, sin, tokens, x);
  if (!x.is_cuda()) {
    turned.copy_(rotated_cpu(turned.unflatten(1, {heads, 2 * half}), cos, sin, 1).flatten(1));
    return;
  }
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::rotate(type_of(x), rows_of(x), cos.const_data_ptr<float>(), sin.const_data_ptr<float>(),
               tokens, heads, half, stream_of(x));
}

void gather_rotated_back(const at::Tensor& out, const at::Tensor& dq, const at::Tensor& dk,
                         const at::Tensor& dv, const at::Tensor& cos, const at::Tensor& sin) {
  const char* function = "gather_rotated_back";
  const std::int64_t tokens = out.size(0);
  const std::int64_t heads = dq.size(1);
  const std::int64_t kv_heads = dk.size(1);
  const std::int64_t d = 2 * cos.size(-1);
  check_rows(function, "the output", out, tokens, (heads + 2 * kv_heads) * d, out);
  check_dense(function, "dq", dq, {tokens, heads, d}, out.scalar_type(), out);
  check_dense(function, "dk", dk, {tokens, kv_heads, d}, out.scalar_type(), out);
  check_dense(function, "dv", dv, {tokens, kv_heads, d}, out.scalar_type(), out);
  check_angles(function, cos, sin, tokens, out);
  if (!out.is_cuda()) {
    out.copy_(at::cat({rotated_cpu(dq, cos, sin, -1).flatten(1),
                       rotated_cpu(dk, cos, sin, -1).flatten(1), dv.to(at::kFloat).flatten(1)},
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
                            cos.const_data_ptr<float>(), sin.const_data_ptr<float>(), tokens, d / 2,
                            stream_of(out));
}

}  // namespace corda::kernels
