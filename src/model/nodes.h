// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The fused kernels as nodes of autograd, for what trains through it (DoRA, dropout, full). Each
// stands for one line of forward.cpp. A node may be gone through backward once: some write their
// gradients over what they kept.
#pragma once

#include <ATen/core/Tensor.h>

#include "corda/kernels/activation.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/rotary.h"
#include "corda/model/attention.h"
#include "corda/model/batch.h"
#include "corda/model/forward.h"

namespace corda::model {

// x W^T of a weight in codes, which are made dense in the forward and again in the backward, so
// that no graph keeps the matrix.
at::Tensor packed_product_node(const at::Tensor& x, const Linear& linear);

// x [tokens, in] in 16 bits times the transpose of an fp32 weight [out, in] that is trained: the
// weight is rounded to x's dtype, its gradient is not.
at::Tensor master_product_node(const at::Tensor& x, const at::Tensor& weight);

// || W_i + s B_i A || of every row, [out] fp32, without the matrix: the root of ||W_i||^2 + 2 s B_i
// (A W_i^T) + s^2 B_i (A A^T) B_i^T, the first being `low_rank.row_squares`; for a W of 16 bits A
// is taken in two pieces. Where B A nearly cancels W, so do the terms: the square is right to 1e-5
// of ||W_i||^2 (fp32: 1e-7) and no better, and is taken as 1e-8 of that at least.
at::Tensor adapted_row_norms(const at::Tensor& weight, const LowRank& low_rank);

// y [tokens, out] times factor [out] fp32, rounded once.
at::Tensor scale_columns_node(const at::Tensor& y, const at::Tensor& factor);

// Rotates all heads of x [tokens, heads * head_dim] in place. x is the result of an operation whose
// backward does not look at it.
at::Tensor rotate_node(const at::Tensor& x, const Rotary& rotary, kernels::RotaryShape shape);

// activation(gate) * up of two results that nothing else looks at, for the backward writes over
// them.
at::Tensor glu_node(const at::Tensor& gate, const at::Tensor& up, kernels::Activation activation);

// `attention_forward` and `attention_backward`. The batch is kept.
at::Tensor attention_node(const Batch& batch, const AttentionRule& rule, const at::Tensor& q,
                          const at::Tensor& k, const at::Tensor& v);

// Sum of the cross-entropy of targets [n] given rows [n, hidden] and the head's weight [vocab,
// hidden], an fp32 scalar. The gradients are computed on the way forward, `chunk` rows of logits at
// a time, so that no logits are kept; that of the weight, where it is trained, in fp32. An
// `entropy_power` weighs the gradient (kernels::cross_entropy), not the sum.
at::Tensor cross_entropy_node(const at::Tensor& rows, const at::Tensor& weight,
                              const at::Tensor& targets, std::int64_t chunk,
                              kernels::LogitRule rule, double entropy_power = 0);

}  // namespace corda::model
