// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Matrix products into memory that exists already, with what training fuses into them.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

class GemmPlans;

struct GemmOptions {
  double alpha = 1;
  double beta = 0;
  const GemmPlans* plans = nullptr;  // gemm_plans.h: use the fastest algorithm known
};

// c = alpha a b + beta c for a [m, k], b [k, n], c [m, n]. a and b have one dtype (bf16 or fp32),
// c that dtype or fp32; products are summed in fp32. Any of them may be a window of a larger matrix
// (one stride 1, the other at least the length); c's rows are contiguous. beta = 0 does not read c.
// On a CUDA device this is one cuBLASLt call on the current stream and, without plans, does not
// synchronise. Throws InternalError where sizes, strides, dtypes or devices do not fit,
// ResourceError for a cuBLAS status.
void gemm(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
          const GemmOptions& options = {});

// c = alpha a b + added: the same with the addition of another matrix [m, n] of c's dtype in place
// of c; beta is not looked at.
void gemm_add(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
              const at::Tensor& added, const GemmOptions& options = {});

}  // namespace corda::kernels
