// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gated activation of a feed-forward layer, activation(gate) * up: SwiGLU with kSilu, GeGLU
// with the others (Shazeer 2020).
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/kernels/activation.h"

namespace corda::kernels {

// The activation of every element, in x's dtype; autograd can follow it.
at::Tensor activate(const at::Tensor& x, Activation activation);

// out = activation(gate) * up, each [rows, n] with contiguous rows at any stride, bf16 or fp32.
// Computed in fp32, rounded once. Does not synchronise. Throws InternalError.
void glu(const at::Tensor& out, const at::Tensor& gate, const at::Tensor& up,
         Activation activation);

// The backward, in place: `gate` and `up` receive their gradients. `grad` [rows, n], which holds
// the gradient of the output, receives the output again where `keep_output`, else it stays.
void glu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad,
                  Activation activation, bool keep_output);

}  // namespace corda::kernels
