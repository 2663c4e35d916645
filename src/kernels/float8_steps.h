// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The two ways in which a GPU does corda/kernels/float8.h's product, for tests of both.
#pragma once

#include "corda/kernels/float8.h"

namespace corda::kernels {

// Whether cuBLASLt multiplies by a factor a row while it writes the result: on compute capability
// 9.0 alone.
bool scales_while_writing(at::Device device);

// `gemm_float8` of checked operands on a GPU; unless `at_once`, a kernel scales what cuBLASLt
// wrote.
void gemm_float8_on_gpu(const at::Tensor& d, const ScaledRows& a, const ScaledRows& b,
                        const at::Tensor& added, double alpha, bool at_once);

}  // namespace corda::kernels
