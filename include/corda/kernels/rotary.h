// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Rotary position embedding (Su et al. 2021), the two halves of a head forming the pairs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::kernels {

// Rotates the first `heads` heads of every row in place: x [tokens, >= heads * d] with contiguous
// rows at any stride, cos and sin [tokens, d / 2] fp32, contiguous. Computed in fp32, rounded once.
// Does not synchronise. Throws ShapeError.
void rotate(const at::Tensor& x, std::int64_t heads, const at::Tensor& cos, const at::Tensor& sin);

// The backward of `rotate` for queries and keys that were laid out as rows [q | k | v]: writes the
// gradients dq [tokens, heads, d] and dk [tokens, kv_heads, d], rotated back, and dv as it is into
// `out` [tokens, (heads + 2 kv_heads) d]. dq, dk, dv are contiguous.
void gather_rotated_back(const at::Tensor& out, const at::Tensor& dq, const at::Tensor& dk,
                         const at::Tensor& dv, const at::Tensor& cos, const at::Tensor& sin);

}  // namespace corda::kernels
