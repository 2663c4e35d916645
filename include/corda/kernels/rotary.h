// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Rotary position embedding (Su et al. 2021) of whole heads or of their first elements.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::kernels {

// How a head is turned by d / 2 angles.
struct RotaryShape {
  std::int64_t head_dim = 0;  // d at least; elements from d on stay as they are
  bool interleaved = false;   // pairs are (2i, 2i + 1); else (i, d / 2 + i)
};

// Rotates the first `heads` heads of every row in place: x [tokens, >= heads * head_dim] with
// contiguous rows at any stride, cos and sin [tokens, d / 2] fp32, contiguous. Computed in fp32,
// rounded once. Does not synchronise. Throws InternalError.
void rotate(const at::Tensor& x, std::int64_t heads, const at::Tensor& cos, const at::Tensor& sin,
            RotaryShape shape);

// The backward of `rotate` for queries and keys that were laid out as rows [q | k | v]: writes the
// gradients dq [tokens, heads, head_dim] and dk [tokens, kv_heads, head_dim], rotated back, and dv
// as it is into `out` [tokens, (heads + 2 kv_heads) head_dim]. dq, dk, dv are contiguous.
void gather_rotated_back(const at::Tensor& out, const at::Tensor& dq, const at::Tensor& dk,
                         const at::Tensor& dv, const at::Tensor& cos, const at::Tensor& sin,
                         RotaryShape shape);

}  // namespace corda::kernels
