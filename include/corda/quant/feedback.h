// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Rounding that knows the inputs: what rounding a column of a weight loses is made good, as far as
// the inputs' covariance allows, in the columns after it (Frantar et al. 2022, GPTQ, section 3).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "corda/io/covariance_store.h"
#include "corda/kernels/packed_weight.h"
#include "corda/quant/quantise.h"

namespace corda::quant {

// Rounds the values [out] of column `column` to what can be stored there.
using ColumnRounding = std::function<at::Tensor(std::int64_t column, const at::Tensor& values)>;

// weight [out, in] fp32, covariance C [in, in], sum of x x^T up to a factor, on the CPU -> fp32
// [out, in] of which every column was given by `round`. Columns are taken by falling C_jj; the
// error of column j goes to those that follow by the Cholesky factor of the inverse of C + d I in
// that order, with d = `damping` times the mean of C's diagonal. Throws ShapeError;
// NumericalError where C + d I is not positive definite.
at::Tensor round_with_feedback(const at::Tensor& weight, const at::Tensor& covariance,
                               const ColumnRounding& round, double damping = 0.01);

// Rounds a weight to bf16 or fp16, `type`.
at::Tensor round_with_feedback(const at::Tensor& weight, const at::Tensor& covariance,
                               at::ScalarType type, double damping = 0.01);

// The same scales as without a covariance, with codes chosen by it.
kernels::PackedWeight quantise(const at::Tensor& weight, Format format,
                               const at::Tensor& covariance, double damping = 0.01);

// The mean square of (A - B) x over inputs with this covariance, relative to that of A x:
// tr(D C D^T) / tr(A C A^T), in fp64.
double output_error(const at::Tensor& a, const at::Tensor& b, const at::Tensor& covariance);

// Opens a covariance directory for the model of that fingerprint ("": not known). Throws
// ConfigError where it was collected on another, or is centred.
io::CovarianceReader covariance_for(const std::string& directory, const std::string& fingerprint);

}  // namespace corda::quant
