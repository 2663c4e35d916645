// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Root-mean-square norm (Zhang and Sennrich 2019) over rows that may lie in a wider buffer.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// out = w x / rms(x), computed in fp32 and rounded once; rms(x) = sqrt(mean(x^2) + eps). x and out
// [rows, n] with contiguous rows at any stride, w [n], one dtype (bf16 or fp32); inv_rms [rows]
// fp32 receives 1 / rms(x). Does not synchronise. Throws ShapeError.
void rms_norm(const at::Tensor& out, const at::Tensor& inv_rms, const at::Tensor& x,
              const at::Tensor& weight, double eps);

// The backward, in place in both of its first arguments: `grad` [rows, n] holds the gradient of the
// output and receives the output again (which the caller needs and did not keep), `residual`
// [rows, n] is increased by the gradient of x. With `keep_output` false, `grad` is left as it is.
void rms_norm_backward(const at::Tensor& grad, const at::Tensor& residual, const at::Tensor& x,
                       const at::Tensor& inv_rms, const at::Tensor& weight,
                       bool keep_output = true);

}  // namespace corda::kernels
