// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Cross-entropy of rows of logits, the gradient taking the place of the logits.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// loss [rows] fp32 = log sum exp(logits) - logits[target], natural logarithm; `logits` [rows,
// vocab] (bf16 or fp32, contiguous rows at any stride) becomes scale * (softmax(logits) -
// onehot(target)), scale being an fp32 scalar on their device. targets [rows] int64, each in [0,
// vocab), which is not checked, or -1: a row that counts for nothing, of loss and gradient zero.
// Computed in fp32. Does not synchronise. Throws ShapeError.
void cross_entropy(const at::Tensor& loss, const at::Tensor& logits, const at::Tensor& targets,
                   const at::Tensor& scale);

}  // namespace corda::kernels
