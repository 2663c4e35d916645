// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAGuard.h>
#include <cublas_v2.h>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "linalg/backend.h"

namespace corda::linalg::cuda {

namespace {

void check(cublasStatus_t status, const char* routine, const at::Tensor& x) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw core::ResourceError(core::concat("cuBLAS: ", routine, " gave status ",
                                         static_cast<int>(status), " for activations ", x.sizes()));
}

// LibTorch's handle reads its scalars on the host between our calls.
class DeviceScalars {
 public:
  DeviceScalars(cublasHandle_t handle, const at::Tensor& x) : handle_(handle) {
    check(cublasSetPointerMode(handle_, CUBLAS_POINTER_MODE_DEVICE), "cublasSetPointerMode", x);
  }
  DeviceScalars(const DeviceScalars&) = delete;
  DeviceScalars& operator=(const DeviceScalars&) = delete;
  ~DeviceScalars() { cublasSetPointerMode(handle_, CUBLAS_POINTER_MODE_HOST); }

 private:
  cublasHandle_t handle_;
};

cudaDataType_t type_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return CUDA_R_32F;
    case at::kBFloat16:
      return CUDA_R_16BF;
    case at::kHalf:
      return CUDA_R_16F;
    default:
      throw core::ShapeError(core::concat("activations must be fp32, bf16 or fp16; they are ",
                                          at::toString(x.scalar_type())));
  }
}

}  // namespace

void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           const at::Tensor& one, std::int64_t begin, std::int64_t columns) {
  const c10::cuda::CUDAGuard guard(x.device());
  const int n = core::narrow<int>(sum.size(0));
  const int tokens = core::narrow<int>(x.size(0));
  const int rows = core::narrow<int>(sum.size(0) - begin);
  const auto* from = static_cast<const char*>(x.const_data_ptr()) +
                     static_cast<std::size_t>(begin) * x.element_size();
  float* to = sum.mutable_data_ptr<float>() + begin * n + begin;
  const cublasHandle_t handle = at::cuda::getCurrentCUDABlasHandle();
  const DeviceScalars scalars(handle, x);
  // To cuBLAS, which is column-major, the row-major panel [rows, columns] is columns x rows, and x
  // is n x tokens.
  check(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_T, core::narrow<int>(columns), rows, tokens,
                     scale.const_data_ptr<float>(), from, type_of(x), n, from, type_of(x), n,
                     one.const_data_ptr<float>(), to, CUDA_R_32F, n, CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT),
        "cublasGemmEx", x);
}

}  // namespace corda::linalg::cuda
