// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gated activation of a feed-forward layer, silu(gate) * up (Shazeer 2020).
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// out [rows, n] = silu(gate) * up for rows [gate | up] of `gate_up` [rows, 2 n]; contiguous rows at
// any stride. Computed in fp32, rounded once. Does not synchronise. Throws ShapeError.
void swiglu(const at::Tensor& out, const at::Tensor& gate_up);

// The backward, in place: `gate_up` receives the gradients of gate and up, `grad` [rows, n], which
// holds the gradient of the output, receives the output again.
void swiglu_backward(const at::Tensor& gate_up, const at::Tensor& grad);

}  // namespace corda::kernels
