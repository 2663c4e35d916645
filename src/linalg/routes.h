// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The fast routes behind the certified functions, and what they share. Arguments are checked; a
// route throws Refused, or NumericalError, where it cannot prove its result.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

#include "corda/linalg/spectrum.h"
#include "linalg/dense.h"
#include "linalg/subspace_iteration.h"

namespace corda::linalg {

// Why a fast route gave up.
struct Refused {
  std::string reason;
};

// `weight` is [out, in] of any floating type.
Spectrum smallest_by_inverse(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                             const SubspaceOptions& options);
Spectrum largest_by_gram(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                         const SubspaceOptions& options);
Spectrum generalised_by_cholesky(const at::Tensor& task, DampedCovariance& knowledge,
                                 std::int64_t r, const SubspaceOptions& options);
Spectrum largest_by_products(const at::Tensor& covariance, std::int64_t r,
                             const SubspaceOptions& options);

// Tells options.on_phase, where there is one, that a phase of the work is done.
void mark(const SubspaceOptions& options, const char* phase);

// Iterates on the n x n operator until `accept` takes the Ritz pairs, which is asked where
// residuals tell that a proof with these allowances [r] on the values can succeed.
RitzPairs iterate(const Operator& apply, std::int64_t n, std::int64_t r, at::Device device,
                  const SubspaceOptions& options,
                  const std::function<at::Tensor(const RitzPairs&)>& allowances,
                  const std::function<bool(const RitzPairs&, const at::Tensor&)>& accept);

// The columns of z made orthonormal (orthonormal.h); Refused where one is zero or not finite.
at::Tensor checked_basis(const at::Tensor& z);

// The sum of the squares of values [r], read on the host: the squared energy of singular values.
double sum_of_squares(const at::Tensor& values);

}  // namespace corda::linalg
