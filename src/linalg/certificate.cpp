// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/certificate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "corda/core/error.h"
#include "linalg/numbers.h"

namespace corda::linalg {

namespace {

// With this number norm_bound, which is kProbeFactor times the estimate from the probes, fails with
// a probability of 1.5e-9; certificate.h derives that, with x = 1 / kProbeFactor^2.
constexpr std::int64_t kProbes = 64;
constexpr double kProbeFactor = 2;
// Products with the probes that a bound may take. With fewer than it needs it is still true, but
// above `enough`; more are left to the proof that needs no gap.
constexpr double kHighestDegree = 40;

bool is_positive_definite(const at::Tensor& matrix) {
  const auto [lower, info] = at::linalg_cholesky_ex(matrix);
  // A NaN does not always stop the factorisation, which reads one triangle only. The largest
  // magnitude is a NaN where there is one.
  const at::Tensor largest =
      at::linalg_vector_norm(matrix, std::numeric_limits<double>::infinity());
  const at::Tensor finite = at::logical_and(largest.isfinite(), lower.diagonal().isfinite().all());
  return at::logical_and(info == 0, finite).item<bool>();
}

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
  return is_positive_definite(difference);
}

std::int64_t complement_degree(std::int64_t n, double expected, double enough) {
  // Where no eigenvalue is above `expected` the probes keep half of their squares on average, so
  // T_d(x)^2 = 2 n shows that none is above x. The degree is a little higher, so that probes which
  // keep all of their squares do as well: acosh(sqrt(4 n)) < 1.09 acosh(sqrt(2 n)) from n = 512 on.
  constexpr double kDegreeReserve = 1.1;
  const double rate = std::acosh(std::max(1.0, 2 * enough / expected - 1));
  const double degree = kDegreeReserve * std::acosh(std::sqrt(2 * static_cast<double>(n))) / rate;
  return std::max<std::int64_t>(
      2, static_cast<std::int64_t>(std::ceil(std::min(degree, kHighestDegree))));
}

double complement_bound(const Operator& apply, const at::Tensor& z, double expected,
                        double enough) {
  if (!(expected > 0)) return std::numeric_limits<double>::infinity();
  const auto project = [&](at::Tensor y) { return y.addmm_(z, at::mm(z.t(), y), 1, -1); };
  const double scale = 2 / expected;
  // T_0 and T_1 of the probes' part outside Z; the part inside plays no role.
  at::Tensor before = project(probes(z.size(0), z.device()));
  at::Tensor now = project(apply(before)) * scale - before;
  const std::int64_t degree = complement_degree(z.size(0), expected, enough);
  for (std::int64_t d = 2; d <= degree; ++d) {
    // `now` and `before` have no part inside Z, so only the product needs the projection.
    at::Tensor next = project(apply.next(std::move(before), now, scale));
    before = std::exchange(now, std::move(next));
  }
  // An eigenvector v with T_d(x) alone gives sum ||T_d p||^2 >= T_d(x)^2 sum (v^T p)^2.
  const double growth = norm_bound(now);
  if (!std::isfinite(growth)) return std::numeric_limits<double>::infinity();
  if (growth <= 1) return expected;
  return expected / 2 * (1 + std::cosh(std::acosh(growth) / static_cast<double>(degree)));
}

bool residuals_allow(const RitzPairs& pairs, double allowance, double outside) {
  const double rest = pairs.smallest + allowance;
  const double gap = rest - outside;
  if (!(gap > 0)) return false;
  const at::Tensor residuals = pairs.images - pairs.vectors * pairs.values;
  at::Tensor difference = at::mm(residuals.t(), residuals).mul_(-1 / gap);
  at::Tensor room = rest - pairs.values;
  room.narrow(0, 0, pairs.r).fill_(allowance);
  difference.diagonal().add_(room);
  return is_positive_definite(difference);
}

at::Tensor probes(std::int64_t n, at::Device device) {
  return normal_numbers(n, kProbes, /*seed=*/2, device);
}

double norm_bound(const at::Tensor& images) {
  // E ||E p||^2 = ||E||_F^2.
  const double squares = images.square().sum().item<double>();
  return kProbeFactor * std::sqrt(squares / static_cast<double>(images.size(1)));
}

bool is_finite(const Spectrum& found) {
  const at::Tensor finite =
      at::logical_and(found.vectors.isfinite().all(), found.values.isfinite().all());
  return finite.item<bool>() && std::isfinite(found.total);
}

std::string unproved(const Spectrum& found, double least, double most) {
  if (!is_finite(found)) return "a number found is not finite";
  if (found.bound >= least && found.bound <= most) return "";
  return core::concat("the energy is proved only to ", found.bound, " of the optimum");
}

}  // namespace corda::linalg
