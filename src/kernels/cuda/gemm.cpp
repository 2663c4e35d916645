// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "kernels/cuda/gemm.h"

#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublasLt.h>

#include <algorithm>
#include <memory>

#include "corda/core/error.h"

namespace corda::kernels::cuda {

namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw core::ResourceError(
      core::concat("[kernels::gemm] ", call, " gave status ", static_cast<int>(status)));
}

template <auto Destroy>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Destroy(pointer);
  }
};
using Description =
    std::unique_ptr<cublasLtMatmulDescOpaque_t, Deleter<&cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Deleter<&cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Deleter<&cublasLtMatmulPreferenceDestroy>>;

cudaDataType_t type_of(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat ? CUDA_R_32F : CUDA_R_16BF;
}

// cuBLAS counts columns first, so a row-major matrix is its own transpose there, and the product
// d = a b is asked for as d^T = b^T a^T.
struct Operand {
  Layout layout;
  cublasOperation_t operation = CUBLAS_OP_N;
};

Layout make_layout(const at::Tensor& x, std::int64_t fast, std::int64_t slow, std::int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  check(cublasLtMatrixLayoutCreate(&layout, type_of(x), static_cast<std::uint64_t>(fast),
                                   static_cast<std::uint64_t>(slow), std::max(stride, fast)),
        "cublasLtMatrixLayoutCreate");
  return Layout(layout);
}

Operand operand_of(const at::Tensor& x) {
  const bool row_major = x.size(1) <= 1 || x.stride(1) == 1;
  if (row_major) return {make_layout(x, x.size(1), x.size(0), x.stride(0)), CUBLAS_OP_N};
  return {make_layout(x, x.size(0), x.size(1), x.stride(1)), CUBLAS_OP_T};
}

Description describe(const Operand& first, const Operand& second) {
  cublasLtMatmulDesc_t raw = nullptr;
  check(cublasLtMatmulDescCreate(&raw, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Description description(raw);
  check(cublasLtMatmulDescSetAttribute(raw, CUBLASLT_MATMUL_DESC_TRANSA, &first.operation,
                                       sizeof(first.operation)),
        "cublasLtMatmulDescSetAttribute");
  check(cublasLtMatmulDescSetAttribute(raw, CUBLASLT_MATMUL_DESC_TRANSB, &second.operation,
                                       sizeof(second.operation)),
        "cublasLtMatmulDescSetAttribute");
  return description;
}

// The largest power of two, up to 256, that divides an address.
std::uint32_t alignment_of(const at::Tensor& x) {
  const auto address = reinterpret_cast<std::uintptr_t>(x.const_data_ptr());
  std::uint32_t alignment = 256;
  while (address % alignment != 0) alignment /= 2;
  return alignment;
}

Preference preference_of(const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
                         const at::Tensor& d, std::size_t workspace) {
  cublasLtMatmulPreference_t raw = nullptr;
  check(cublasLtMatmulPreferenceCreate(&raw), "cublasLtMatmulPreferenceCreate");
  Preference preference(raw);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t key, const auto& value) {
    check(cublasLtMatmulPreferenceSetAttribute(raw, key, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace);
  // A product that is split over k must not be summed in 16 bits.
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(a));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(b));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(d));
  return preference;
}

}  // namespace

void gemm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
          float alpha, float beta) {
  const c10::cuda::CUDAGuard guard(d.device());
  const Operand first = operand_of(b);
  const Operand second = operand_of(a);
  const Layout in = make_layout(c, c.size(1), c.size(0), c.stride(0));
  const Layout out = make_layout(d, d.size(1), d.size(0), d.stride(0));
  const Description description = describe(first, second);

  const cublasLtHandle_t handle = at::cuda::getCurrentCUDABlasLtHandle();
  const std::size_t workspace_bytes = at::cuda::getCUDABlasLtWorkspaceSize();
  const at::Tensor workspace =
      at::empty({static_cast<std::int64_t>(workspace_bytes)}, d.options().dtype(at::kByte));
  const Preference preference = preference_of(b, a, c, d, workspace_bytes);
  cublasLtMatmulHeuristicResult_t choice{};
  int found = 0;
  check(cublasLtMatmulAlgoGetHeuristic(handle, description.get(), first.layout.get(),
                                       second.layout.get(), in.get(), out.get(), preference.get(),
                                       1, &choice, &found),
        "cublasLtMatmulAlgoGetHeuristic");
  if (found == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasLtMatmulAlgoGetHeuristic");
  check(cublasLtMatmul(handle, description.get(), &alpha, b.const_data_ptr(), first.layout.get(),
                       a.const_data_ptr(), second.layout.get(), &beta, c.const_data_ptr(), in.get(),
                       d.mutable_data_ptr(), out.get(), &choice.algo, workspace.mutable_data_ptr(),
                       workspace_bytes, at::cuda::getCurrentCUDAStream(d.device().index())),
        "cublasLtMatmul");
}

}  // namespace corda::kernels::cuda
