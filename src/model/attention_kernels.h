// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// ATen's attention over packed sequences, for attention.cpp with autograd and attention_pass.cpp
// without. q [tokens, heads, d], k and v [tokens, kv_heads, d] -> [tokens, heads, d].
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/model/attention_pass.h"
#include "corda/model/batch.h"

namespace corda::model {

// Flash attention by cu_seqlens. q must suit it (`suits_flash`).
AttentionPass attend_flash(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                           const at::Tensor& v);

// Any q: one call a sequence on the CPU, the memory-efficient kernel by cu_seqlens on the GPU.
at::Tensor attend_any(const Batch& batch, const at::Tensor& q, const at::Tensor& k,
                      const at::Tensor& v);

}  // namespace corda::model
