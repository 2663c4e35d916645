// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gated activation of a feed-forward layer, silu(gate) * up (Shazeer 2020).
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// out = silu(gate) * up, each [rows, n] with contiguous rows at any stride, bf16 or fp32. Computed
// in fp32, rounded once. Does not synchronise. Throws ShapeError.
void swiglu(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& up);

// The backward, in place: `gate` and `up` receive their gradients, `grad` [rows, n], which holds the
// gradient of the output, receives the output again.
void swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad);

}  // namespace corda::kernels
