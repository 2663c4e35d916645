// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a training step has to compute, for utilisation.
#pragma once

#include "corda/model/model.h"

namespace corda::train {

// Multiplications and additions of the matrix products of a step over `tokens` tokens, forward and
// backward: each weight once forward, once where it is trained, and once for the gradient of its
// input where anything before it is trained; a frozen A that adjacent layers share counts once.
// `head_rows` of the tokens go through the head. DoRA's row norms take B A W^T and B A A^T B^T once
// in each of `micro_batches`. Attention over the sequence is not counted.
double flops_of_step(const model::Model& model, double tokens, double head_rows,
                     double micro_batches);

}  // namespace corda::train
