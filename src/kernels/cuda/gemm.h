// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The cuBLASLt side of corda/kernels/gemm.h.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels::cuda {

class PlanTable;

// d = alpha a b + beta c; shapes, strides and dtypes were checked. `c` may be `d`. Without `plans`
// by the algorithm that cuBLASLt proposes first.
void gemm(const at::Tensor& d, const at::Tensor& a, const at::Tensor& b, const at::Tensor& c,
          float alpha, float beta, PlanTable* plans);

}  // namespace corda::kernels::cuda
