// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The cuBLASLt side of corda/kernels/gemm.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace corda::kernels::cuda {

class PlanTable;

// d = alpha a b + beta c; shapes, strides and dtypes were checked. `c` may be `d`. Without `plans`
// by the algorithm that cuBLASLt proposes first.
void gemm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
          float alpha, float beta, PlanTable* plans);

// The GPU, and everything that decides which algorithms there are and how fast they are.
std::string plans_made_for(c10::DeviceIndex device);

// Factors of the rows of a and of the columns of b, in device memory; null for both: none.
struct Float8Scales {
  const float* a = nullptr;
  const float* b = nullptr;
};

// The same for a and b in float8 e4m3, a's rows and b's columns contiguous, by the algorithm that
// cuBLASLt proposes first.
void gemm_float8(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
                 float alpha, float beta, const Float8Scales& scales);

}  // namespace corda::kernels::cuda
