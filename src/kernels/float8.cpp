// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/float8.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>

#include "corda/core/error.h"
#include "kernels/cuda/gemm.h"
#include "kernels/float8_steps.h"
#include "kernels/tensors.h"

namespace corda::kernels {

using core::concat;
using core::InternalError;

namespace {

// Tensor cores read operands of 8 bits in steps of so many.
constexpr std::int64_t kStep = 16;

void check_scaled(const char* function, const char* what, const ScaledRows& x, std::int64_t rows,
                  std::int64_t columns, const at::Tensor& like) {
  check_dense(function, what, x.codes, {rows, columns}, at::kFloat8_e4m3fn, like);
  check_dense(function, what, x.scales, {rows}, at::kFloat, like);
}

void quantise_on_host(const ScaledRows& out, const at::Tensor& x, const at::Tensor& factors) {
  at::Tensor wide = x.to(at::kFloat);
  if (factors.defined()) wide = wide * factors;
  const at::Tensor largest = wide.abs().amax(1);
  const at::Tensor one = at::ones_like(largest);
  const at::Tensor zeros = largest < kSmallestFloat8Range;
  out.scales.copy_(at::where(zeros, one, largest / kLargestFloat8));
  const at::Tensor inverse = at::where(zeros, one, kLargestFloat8 / largest);
  out.codes.copy_(
      (wide * inverse.unsqueeze(1)).clamp(-kLargestFloat8, kLargestFloat8).to(at::kFloat8_e4m3fn));
}

at::Tensor values_of(const ScaledRows& x) { return x.codes.to(at::kFloat) * x.scales.unsqueeze(1); }

void gemm_on_host(const at::Tensor& d, const ScaledRows& a, const ScaledRows& b,
                  const at::Tensor& added, double alpha) {
  at::Tensor product = at::mm(values_of(a), values_of(b).t());
  if (alpha != 1) product.mul_(alpha);
  if (added.defined()) product.add_(added.to(at::kFloat));
  d.copy_(product);
}

}  // namespace

void quantise_rows(const ScaledRows& out, const at::Tensor& x, const at::Tensor& factors) {
  const std::int64_t rows = x.size(0);
  const std::int64_t n = x.size(1);
  check_rows("quantise_rows", "x", x, rows, n, x);
  check_scaled("quantise_rows", "the result", out, rows, n, x);
  if (factors.defined()) check_dense("quantise_rows", "the factors", factors, {n}, at::kFloat, x);
  if (x.numel() == 0) return;
  if (!x.is_cuda()) return quantise_on_host(out, x, factors);
  const c10::cuda::CUDAGuard guard(x.device());
  cuda::quantise_rows(
      type_of(x), out.codes.mutable_data_ptr(), out.scales.mutable_data_ptr<float>(), rows_of(x),
      factors.defined() ? factors.const_data_ptr<float>() : nullptr, rows, n, stream_of(x));
}

void transpose_codes(const at::Tensor& to, const at::Tensor& from) {
  const std::int64_t rows = from.size(0);
  const std::int64_t n = from.size(1);
  const auto fits = [&](const at::Tensor& x, std::int64_t height, std::int64_t width) {
    return x.scalar_type() == at::kFloat8_e4m3fn && x.device() == from.device() && x.dim() == 2 &&
           x.size(0) == height && x.size(1) == width && (width <= 1 || x.stride(1) == 1) &&
           (height <= 1 || x.stride(0) >= width);
  };
  if (!fits(from, rows, n) || !fits(to, n, rows)) {
    throw InternalError(
        concat("[kernels::transpose_codes] expected float8 [rows, n] and [n, rows] "
               "with contiguous rows on one device; received ",
               from.scalar_type(), " ", from.sizes(), " and ", to.scalar_type(), " ", to.sizes()));
  }
  if (!from.is_cuda()) {
    to.view(at::kByte).copy_(from.view(at::kByte).t());
    return;
  }
  const c10::cuda::CUDAGuard guard(from.device());
  cuda::transpose_bytes(rows_of(to), rows_of(from), rows, n, stream_of(from));
}

void gemm_float8(const at::Tensor& d, const ScaledRows& a, const ScaledRows& b,
                 const at::Tensor& added, double alpha) {
  const std::int64_t m = a.codes.size(0);
  const std::int64_t n = b.codes.size(0);
  const std::int64_t k = a.codes.size(1);
  check_rows("gemm_float8", "the result", d, m, n, d);
  check_scaled("gemm_float8", "a", a, m, k, d);
  check_scaled("gemm_float8", "b", b, n, k, d);
  if (added.defined()) check_rows("gemm_float8", "what is added", added, m, n, d);
  if (d.numel() == 0) return;
  if (!d.is_cuda()) return gemm_on_host(d, a, b, added, alpha);
  if (k % kStep != 0 || n % kStep != 0) {
    throw InternalError(concat("[kernels::gemm_float8] expected k and n in multiples of ", kStep,
                               " on a GPU; received ", k, " and ", n));
  }
  gemm_float8_on_gpu(d, a, b, added, alpha, scales_while_writing(d.device()));
}

bool scales_while_writing(at::Device device) {
  return at::cuda::getDeviceProperties(device.index())->major == 9;
}

void gemm_float8_on_gpu(const at::Tensor& d, const ScaledRows& a, const ScaledRows& b,
                        const at::Tensor& added, double alpha, bool at_once) {
  const c10::cuda::CUDAGuard guard(d.device());
  const auto* a_scales = a.scales.const_data_ptr<float>();
  const auto* b_scales = b.scales.const_data_ptr<float>();
  const auto factor = static_cast<float>(alpha);
  if (at_once) {
    cuda::gemm_float8(d, a.codes, b.codes.t(), added.defined() ? added : d, factor,
                      added.defined() ? 1 : 0, {a_scales, b_scales});
    return;
  }
  cuda::gemm_float8(d, a.codes, b.codes.t(), d, 1, 0, {nullptr, nullptr});
  cuda::scale_product(type_of(d), rows_of(d), a_scales, b_scales, factor,
                      added.defined() ? rows_of(added) : cuda::Rows{}, d.size(0), d.size(1),
                      stream_of(d));
}

bool multiplies_float8(at::Device device) {
  if (!device.is_cuda()) return false;
  const cudaDeviceProp& gpu = *at::cuda::getDeviceProperties(device.index());
  return multiplies_float8(gpu.major, gpu.minor);
}

bool multiplies_float8(int major, int minor) { return major > 8 || (major == 8 && minor >= 9); }

}  // namespace corda::kernels
