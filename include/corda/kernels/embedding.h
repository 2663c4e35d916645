// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Rows of a table by their number, and the gradient of the table.
#pragma once

#include <ATen/core/Tensor.h>

namespace corda::kernels {

// out[i] = table[ids[i]], rounded where out is narrower. table [vocab, n] contiguous, bf16 or fp32;
// out [rows, n] of that dtype, or bf16 for an fp32 table, with contiguous rows at any stride; ids
// [rows] int64, each in [0, vocab), which is not checked on a GPU. Does not synchronise. Throws
// InternalError.
void embedding(const at::Tensor& out, const at::Tensor& table, const at::Tensor& ids);

// grad_table[ids[i]] += grad[i]. grad_table [vocab, n] fp32, contiguous, of which only the rows
// that ids name are touched; grad [rows, n] bf16 or fp32 with contiguous rows at any stride. Rows
// of one id are summed in fp32 in the order of i, so results repeat. Does not synchronise. Throws
// InternalError.
void embedding_backward(const at::Tensor& grad_table, const at::Tensor& grad,
                        const at::Tensor& ids);

}  // namespace corda::kernels
