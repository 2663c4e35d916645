// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Root-mean-square norm (Zhang and Sennrich 2019) over rows that may lie in a wider buffer.
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/kernels/norm_kind.h"

namespace corda::kernels {

// out = (offset + w) x / rms(x), computed in fp32 and rounded as `kind` says; rms(x) =
// sqrt(mean(x^2) + eps). x and out [rows, n] with contiguous rows at any stride, w [n], one dtype
// (bf16 or fp32); inv_rms [rows] fp32 gets 1 / rms(x). Does not synchronise. Throws InternalError.
void rms_norm(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
              const at::Tensor& weight, double eps, NormKind kind = {});

// The backward, in place in both of its first arguments: `grad` [rows, n] holds the gradient of the
// output and receives the output again (which the caller needs and did not keep), `residual`
// [rows, n] is increased by the gradient of x. With `keep_output` false, `grad` is left as it is.
void rms_norm_backward(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                       const at::Tensor& inv_rms, const at::Tensor& weight, bool keep_output = true,
                       NormKind kind = {});

// Norms of the heads of queries and keys, in rows that hold several groups of `weight.size(0)`
// neighbours each: out = the norm of every group of x [rows, groups * n]. out and x may not
// overlap; contiguous rows at any stride.
void group_norm(const at::Tensor& out, const at::Tensor& x, const at::Tensor& weight, double eps,
                NormKind kind);

// The backward, in place: `x` receives its gradient. grad [rows, groups * n] is that of the output.
void group_norm_backward(const at::Tensor& x, const at::Tensor& grad, const at::Tensor& weight,
                         double eps, NormKind kind);

}  // namespace corda::kernels
