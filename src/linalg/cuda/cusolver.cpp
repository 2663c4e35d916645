// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/cuda/cusolver.h"

#include <ATen/ATen.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <vector>

#include "corda/core/checked.h"
#include "corda/core/error.h"

namespace corda::linalg::cuda {

using core::concat;
using core::narrow;
using core::NumericalError;

namespace {

double* data(at::Tensor& tensor) { return tensor.mutable_data_ptr<double>(); }

// cuSOLVER's host workspaces may be of size zero, for which a vector's data() is null, which it
// accepts.
using HostBuffer = std::vector<char>;

}  // namespace

Solver::Solver(at::Device device) : device_(device) {
  const c10::cuda::CUDAGuard guard(device_);
  if (const auto status = cusolverDnCreate(&handle_); status != CUSOLVER_STATUS_SUCCESS) {
    throw core::ResourceError(concat("cuSOLVER could not be started: cusolverDnCreate gave status ",
                                     static_cast<int>(status), "; is the GPU out of memory?"));
  }
  const auto params = cusolverDnCreateParams(&params_);
  const auto stream =
      cusolverDnSetStream(handle_, c10::cuda::getCurrentCUDAStream(device_.index()).stream());
  if (params != CUSOLVER_STATUS_SUCCESS || stream != CUSOLVER_STATUS_SUCCESS) {
    if (params_ != nullptr) cusolverDnDestroyParams(params_);
    cusolverDnDestroy(handle_);
    throw core::ResourceError(
        concat("cuSOLVER could not be started: cusolverDnCreateParams gave status ",
               static_cast<int>(params), ", cusolverDnSetStream ", static_cast<int>(stream)));
  }
}

Solver::~Solver() {
  // A failure here has no one to tell; the handles are only memory.
  cusolverDnDestroyParams(params_);
  cusolverDnDestroy(handle_);
}

void Solver::check(cusolverStatus_t status, const char* routine, const at::Tensor& matrix) const {
  if (status == CUSOLVER_STATUS_SUCCESS) return;
  const std::string message = concat("cuSOLVER: ", routine, " gave status ",
                                     static_cast<int>(status), " for a matrix ", matrix.sizes());
  if (status == CUSOLVER_STATUS_ALLOC_FAILED)
    throw core::ResourceError(message + ": out of GPU memory");
  throw NumericalError(message);
}

void Solver::check_info(const at::Tensor& info, const char* routine,
                        const at::Tensor& matrix) const {
  const int value = info.item<int>();
  if (value == 0) return;
  throw NumericalError(
      concat("cuSOLVER: ", routine, " gave info ", value, " for a matrix ", matrix.sizes()));
}

at::Tensor Solver::device_buffer(std::size_t bytes) const {
  return at::empty({narrow<std::int64_t>(bytes)},
                   at::TensorOptions().dtype(at::kByte).device(device_));
}

at::Tensor Solver::qr(at::Tensor& a) {
  const c10::cuda::CUDAGuard guard(device_);
  const std::int64_t columns = a.size(0);
  const std::int64_t rows = a.size(1);
  at::Tensor tau = at::empty({columns}, a.options());
  const at::Tensor info = at::zeros({1}, a.options().dtype(at::kInt));
  std::size_t device_bytes = 0;
  std::size_t host_bytes = 0;
  check(cusolverDnXgeqrf_bufferSize(handle_, params_, rows, columns, CUDA_R_64F, data(a), rows,
                                    CUDA_R_64F, data(tau), CUDA_R_64F, &device_bytes, &host_bytes),
        "Xgeqrf_bufferSize", a);
  const at::Tensor device = device_buffer(device_bytes);
  HostBuffer host(host_bytes);
  check(cusolverDnXgeqrf(handle_, params_, rows, columns, CUDA_R_64F, data(a), rows, CUDA_R_64F,
                         data(tau), CUDA_R_64F, device.mutable_data_ptr(), device_bytes,
                         host.data(), host_bytes, info.mutable_data_ptr<int>()),
        "Xgeqrf", a);
  check_info(info, "Xgeqrf", a);
  return tau;
}

void Solver::apply_q(const at::Tensor& a, const at::Tensor& tau, at::Tensor& rows) {
  const c10::cuda::CUDAGuard guard(device_);
  const int m = narrow<int>(rows.size(1));
  const int n = narrow<int>(rows.size(0));
  const int k = narrow<int>(a.size(0));
  const double* q = a.const_data_ptr<double>();
  const double* scales = tau.const_data_ptr<double>();
  int length = 0;
  check(cusolverDnDormqr_bufferSize(handle_, CUBLAS_SIDE_LEFT, CUBLAS_OP_N, m, n, k, q, m, scales,
                                    data(rows), m, &length),
        "Dormqr_bufferSize", rows);
  const at::Tensor work = at::empty({std::max(length, 1)}, rows.options());
  const at::Tensor info = at::zeros({1}, rows.options().dtype(at::kInt));
  check(cusolverDnDormqr(handle_, CUBLAS_SIDE_LEFT, CUBLAS_OP_N, m, n, k, q, m, scales, data(rows),
                         m, work.mutable_data_ptr<double>(), length, info.mutable_data_ptr<int>()),
        "Dormqr", rows);
  check_info(info, "Dormqr", rows);
}

void Solver::invert_lower(at::Tensor& a) {
  const c10::cuda::CUDAGuard guard(device_);
  const std::int64_t n = a.size(0);
  const at::Tensor info = at::zeros({1}, a.options().dtype(at::kInt));
  std::size_t device_bytes = 0;
  std::size_t host_bytes = 0;
  // Lower in a row-major tensor is upper to cuSOLVER.
  check(cusolverDnXtrtri_bufferSize(handle_, CUBLAS_FILL_MODE_UPPER, CUBLAS_DIAG_NON_UNIT, n,
                                    CUDA_R_64F, data(a), n, &device_bytes, &host_bytes),
        "Xtrtri_bufferSize", a);
  const at::Tensor device = device_buffer(device_bytes);
  HostBuffer host(host_bytes);
  check(cusolverDnXtrtri(handle_, CUBLAS_FILL_MODE_UPPER, CUBLAS_DIAG_NON_UNIT, n, CUDA_R_64F,
                         data(a), n, device.mutable_data_ptr(), device_bytes, host.data(),
                         host_bytes, info.mutable_data_ptr<int>()),
        "Xtrtri", a);
  check_info(info, "Xtrtri", a);
}

Solver::Eigen Solver::eigen_top(at::Tensor& a, std::int64_t r) {
  const c10::cuda::CUDAGuard guard(device_);
  const std::int64_t n = a.size(0);
  at::Tensor values = at::empty({n}, a.options());
  const at::Tensor info = at::zeros({1}, a.options().dtype(at::kInt));
  double lowest = 0;
  double highest = 0;
  std::int64_t found = 0;
  std::size_t device_bytes = 0;
  std::size_t host_bytes = 0;
  check(cusolverDnXsyevdx_bufferSize(
            handle_, params_, CUSOLVER_EIG_MODE_VECTOR, CUSOLVER_EIG_RANGE_I,
            CUBLAS_FILL_MODE_LOWER, n, CUDA_R_64F, data(a), n, &lowest, &highest, n - r + 1, n,
            &found, CUDA_R_64F, data(values), CUDA_R_64F, &device_bytes, &host_bytes),
        "Xsyevdx_bufferSize", a);
  const at::Tensor device = device_buffer(device_bytes);
  HostBuffer host(host_bytes);
  check(cusolverDnXsyevdx(handle_, params_, CUSOLVER_EIG_MODE_VECTOR, CUSOLVER_EIG_RANGE_I,
                          CUBLAS_FILL_MODE_LOWER, n, CUDA_R_64F, data(a), n, &lowest, &highest,
                          n - r + 1, n, &found, CUDA_R_64F, data(values), CUDA_R_64F,
                          device.mutable_data_ptr(), device_bytes, host.data(), host_bytes,
                          info.mutable_data_ptr<int>()),
        "Xsyevdx", a);
  check_info(info, "Xsyevdx", a);
  if (found != r) {
    throw NumericalError(concat("cuSOLVER: Xsyevdx found ", found, " of ", r,
                                " eigenvalues of a matrix ", a.sizes()));
  }
  return {a.narrow(0, 0, r).flip(0), values.narrow(0, 0, r).flip(0)};
}

Solver::Svd Solver::left_svd(const at::Tensor& matrix) {
  const c10::cuda::CUDAGuard guard(device_);
  const std::int64_t n = matrix.size(0);
  at::Tensor a = matrix.t().contiguous();  // column-major
  if (a.data_ptr() == matrix.data_ptr()) a = a.clone();
  at::Tensor values = at::empty({n}, a.options());
  at::Tensor u = at::empty({n, n}, a.options());
  const at::Tensor info = at::zeros({1}, a.options().dtype(at::kInt));
  std::size_t device_bytes = 0;
  std::size_t host_bytes = 0;
  check(cusolverDnXgesvd_bufferSize(handle_, params_, 'A', 'N', n, n, CUDA_R_64F, data(a), n,
                                    CUDA_R_64F, data(values), CUDA_R_64F, data(u), n, CUDA_R_64F,
                                    nullptr, n, CUDA_R_64F, &device_bytes, &host_bytes),
        "Xgesvd_bufferSize", a);
  const at::Tensor device = device_buffer(device_bytes);
  HostBuffer host(host_bytes);
  check(cusolverDnXgesvd(handle_, params_, 'A', 'N', n, n, CUDA_R_64F, data(a), n, CUDA_R_64F,
                         data(values), CUDA_R_64F, data(u), n, CUDA_R_64F, nullptr, n, CUDA_R_64F,
                         device.mutable_data_ptr(), device_bytes, host.data(), host_bytes,
                         info.mutable_data_ptr<int>()),
        "Xgesvd", a);
  check_info(info, "Xgesvd", a);
  return {u, values};
}

}  // namespace corda::linalg::cuda
