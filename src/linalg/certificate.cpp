// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/certificate.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

namespace corda::linalg {

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
  const at::Tensor info = std::get<1>(at::linalg_cholesky_ex(difference));
  // A NaN does not always stop the factorisation, so it is looked for.
  return info.item<int>() == 0 && difference.diagonal().isfinite().all().item<bool>();
}

double norm_bound(const at::Tensor& images, const at::Tensor& probes) {
  // E ||E p||^2 = variance ||E||_F^2, and ||p||^2 = n variance on average.
  const double ratio = (at::linalg_norm(images) / at::linalg_norm(probes)).item<double>();
  return 2 * ratio * std::sqrt(static_cast<double>(probes.size(0)));
}

}  // namespace corda::linalg
