// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Checks of the arguments that the public functions share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace corda::linalg {

// These throw ShapeError "WHAT must be ...".
void check_matrix(const char* what, const at::Tensor& matrix);
void check_square(const char* what, const at::Tensor& matrix);
void check_rank(std::int64_t r, std::int64_t limit);
// Checks that W [out, in] and C [in, in] fit each other.
void check_layer(const at::Tensor& weight, const at::Tensor& covariance);
// Checks that C_task and C_know are square and of one size.
void check_pair(const at::Tensor& task, const at::Tensor& knowledge);

// Throws NumericalError "WHAT holds a NaN or an infinity". Waits for the device.
void check_finite(const char* what, const at::Tensor& matrix);

// The least number that rounding may leave on a diagonal of sums of squares with the mean `mean`:
// products of 16-bit factors go less than 1e-3 of it below zero.
double least_diagonal(double mean);

// The mean of the diagonal of C, fp64. Throws NumericalError where C is zero or not finite, or a
// number on its diagonal below `least_diagonal`.
double mean_diagonal(const char* what, const at::Tensor& covariance);

// Makes each column's entry of largest magnitude positive.
at::Tensor fix_signs(const at::Tensor& vectors);

}  // namespace corda::linalg
