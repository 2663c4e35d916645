// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/certificate.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "linalg/numbers.h"

namespace corda::linalg {

namespace {

constexpr std::int64_t kProbes = 64;
constexpr double kProbeFactor = 2;

}  // namespace

bool dominates(const at::Tensor& a, const at::Tensor& z, const at::Tensor& values, double rest,
               const at::Tensor& k) {
  at::Tensor difference = at::mm(z * (values - rest), z.t());
  if (k.defined()) {
    difference.add_(k, rest);
  } else {
    difference.diagonal().add_(rest);
  }
  difference.sub_(a);
  const at::Tensor largest = at::max(a.diagonal().abs().max(), difference.diagonal().abs().max());
  const double slack = static_cast<double>(a.size(0)) * std::numeric_limits<double>::epsilon();
  difference.diagonal().sub_(largest * slack);
  const auto [lower, info] = at::linalg_cholesky_ex(difference);
  // A NaN does not always stop the factorisation, so it is looked for.
  return at::logical_and(info == 0, lower.diagonal().isfinite().all()).item<bool>();
}

at::Tensor probes(std::int64_t n, at::Device device) {
  return normal_numbers(n, kProbes, /*seed=*/2, device);
}

double norm_bound(const at::Tensor& images) {
  // E ||E p||^2 = ||E||_F^2.
  const double squares = images.square().sum().item<double>();
  return kProbeFactor * std::sqrt(squares / static_cast<double>(images.size(1)));
}

}  // namespace corda::linalg
