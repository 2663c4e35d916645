// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Products of matrices in float8 (e4m3), with a factor a row.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "corda/kernels/float8_range.h"

namespace corda::kernels {

// A matrix of the values codes[i][j] * scales[i].
struct ScaledRows {
  at::Tensor codes;   // float8 e4m3 [rows, columns], contiguous
  at::Tensor scales;  // fp32 [rows]
};

// Writes x [rows, n] (fp32 or bf16, contiguous rows at any stride) to `out`, memory of that shape:
// each row's largest value becomes 448, the others are rounded to the nearest, to even between two.
// A row of zeros, or of values below kSmallestFloat8Range, has codes of 0 and the scale 1. With
// `factors` [n], fp32, it is x[i][j] * factors[j] that is written. Does not synchronise. Throws
// InternalError where sizes do not fit.
void quantise_rows(const ScaledRows& out, const at::Tensor& x, const at::Tensor& factors = {});

// to = from^T for codes [rows, n], with contiguous rows at any stride, in other memory. Does not
// synchronise. Throws InternalError where sizes do not fit.
void transpose_codes(const at::Tensor& to, const at::Tensor& from);

// d = alpha a b^T for a [m, k] and b [n, k], plus `added` [m, n] where it is defined; d and `added`
// are of one dtype, fp32 or bf16, with contiguous rows at any stride, in other memory. Products are
// summed in fp32, or as the tensor cores of a GPU sum fastest (with about 14 bits on compute
// capability 9.0; the codes have 4).
// On a CUDA device k and n must be multiples of 16, rows of d and of `added` begin at multiples of
// 16 bytes, and the device be one that `multiplies_float8`. Throws InternalError and ResourceError
// as kernels::gemm.
void gemm_float8(const at::Tensor& d, const ScaledRows& a, const ScaledRows& b,
                 const at::Tensor& added, double alpha = 1);

// Whether the device has tensor cores for float8: compute capability 8.9 and newer. A CPU has none,
// and computes the same products in fp32.
bool multiplies_float8(at::Device device);
// The same of a GPU of this compute capability.
bool multiplies_float8(int major, int minor);

}  // namespace corda::kernels
