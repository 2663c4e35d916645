// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What each backend provides; arguments are checked, finite, fp64 and on the backend's device.
#pragma once

#include "corda/linalg/spectrum.h"

namespace corda::linalg {

namespace cpu {
// Fills vectors, values and route for M [m, n].
Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which);
Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r);
// sum[begin:, begin : begin + columns] += scale (x^T x) there; x [tokens, n] contiguous.
void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           std::int64_t begin, std::int64_t columns);
}  // namespace cpu

namespace cuda {
Spectrum left_subspace(const at::Tensor& matrix, std::int64_t r, Which which);
Spectrum generalised_top(const at::Tensor& task, const at::Tensor& knowledge_damped,
                         std::int64_t r);
// As on the CPU; the scale and `one`, which is 1, are read on the device.
void add_scaled_gram_panel(at::Tensor& sum, const at::Tensor& x, const at::Tensor& scale,
                           const at::Tensor& one, std::int64_t begin, std::int64_t columns);
}  // namespace cuda

}  // namespace corda::linalg
