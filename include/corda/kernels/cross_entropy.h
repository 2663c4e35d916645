// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Cross-entropy of rows of logits, the gradient taking the place of the logits; and of rows before
// the head, whose logits are never all there.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::kernels {

class GemmPlans;

// What a model does to its logits l: l' = cap tanh(scale l / cap), or scale l where cap is 0.
struct LogitRule {
  double scale = 1;
  double soft_cap = 0;
};

// loss [rows] fp32 = log sum exp(logits) - logits[target], natural logarithm; `logits` [rows,
// vocab] (bf16 or fp32, contiguous rows at any stride) becomes scale * (softmax(logits) -
// onehot(target)), scale being an fp32 scalar on their device. targets [rows] int64, each in [0,
// vocab), which is not checked, or -1: a row that counts for nothing, of loss and gradient zero.
// With a soft cap the loss is that of cap tanh(logits / cap), and the gradient goes through it.
// With an entropy_power the gradient of each row is multiplied by its entropy_weights, which are
// constants to it; the loss is not. Computed in fp32. Does not synchronise. Throws InternalError.
void cross_entropy(const at::Tensor& loss, const at::Tensor& logits, const at::Tensor& targets,
                   const at::Tensor& scale, double soft_cap = 0, double entropy_power = 0);

// Entropy-adaptive fine-tuning (Diao et al. 2026, arXiv 2601.02151): (H / ln 20)^power of every row
// of logits [rows, vocab], H being the entropy of the softmax over its 20 largest logits (all, of a
// smaller vocabulary); fp32 [rows], 0 to 1. Low where the model is sure of the next token, whether
// it is the target or not.
at::Tensor entropy_weights(const at::Tensor& logits, double power);

// Rows whose logits are computed at once: 2^26 elements or one row, in multiples of 256 rows where
// there are as many.
std::int64_t logit_rows(std::int64_t vocab);

struct LinearCrossEntropyOptions {
  std::int64_t chunk = 1;            // rows whose logits are there at once, at least 1
  at::Tensor grad_weight = {};       // [vocab, hidden] fp32, overwritten; may be undefined
  const GemmPlans* plans = nullptr;  // gemm_plans.h
  LogitRule rule = {};
  double entropy_power = 0;  // of cross_entropy
};

// cross_entropy of logits rows weight^T, as the rule has them, `chunk` rows after the other: loss
// [rows] fp32; grad_rows [rows, hidden] = dlogits weight, which may be `rows` itself where no
// grad_weight is asked for; grad_weight = dlogits^T rows. rows [rows, hidden] and weight [vocab,
// hidden] of one dtype; no rows are no work, and a grad_weight of zeros. Throws InternalError.
void linear_cross_entropy(const at::Tensor& loss, const at::Tensor& grad_rows,
                          const at::Tensor& rows, const at::Tensor& weight,
                          const at::Tensor& targets, const at::Tensor& scale,
                          const LinearCrossEntropyOptions& options);

}  // namespace corda::kernels
