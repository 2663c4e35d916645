// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Products to about 1e-5 at many times the speed of fp32: a matrix is written as a sum of pieces
// whose products tensor cores form exactly and sum in fp32.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace corda::linalg {

// The matrix is the sum of the pieces, largest first. On a GPU they are bf16: one for a bf16
// matrix, else two, which hold 16 bits; on the CPU, which has nothing to gain, one fp32 matrix.
using Pieces = std::vector<at::Tensor>;
Pieces pieces_of(const at::Tensor& matrix);
// The same with pieces in bf16, on the CPU too.
Pieces bf16_pieces_of(const at::Tensor& matrix);

// A B [m, n] in fp32 of A [m, k] and B [k, n], without the product of two second pieces. How tensor
// cores cut the terms of long sums is an error of its own, of some 1e-5 (H100, k = 4096).
at::Tensor multiply(const Pieces& a, const Pieces& b);
// A A^T [m, m] in fp32, likewise: symmetric where there are bf16 pieces, else as gram_of_rows.
at::Tensor multiply_by_transpose(const Pieces& a);

}  // namespace corda::linalg
