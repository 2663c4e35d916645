// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Products to nearly fp32's accuracy at a multiple of its speed: a matrix is written as a sum of
// pieces whose products tensor cores form exactly and sum in fp32.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace corda::linalg {

// The matrix is the sum of the pieces, largest first, to 24 bits. On a GPU they are up to three
// bf16 matrices (one for a bf16 matrix, two for fp16); on the CPU, which has nothing to gain, one
// fp32 matrix.
using Pieces = std::vector<at::Tensor>;
Pieces pieces_of(const at::Tensor& matrix);
// The same in bf16 wherever the matrix is.
Pieces bf16_pieces_of(const at::Tensor& matrix);

// A B [m, n] in fp32 of A [m, k] and B [k, n]: products of pieces down to 2^-16 of the largest.
at::Tensor multiply(const Pieces& a, const Pieces& b);
// A A^T [m, m] in fp32, symmetric, likewise.
at::Tensor multiply_by_transpose(const Pieces& a);

}  // namespace corda::linalg
