// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/subspace_iteration.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "corda/core/error.h"
#include "linalg/numbers.h"
#include "linalg/orthonormal.h"

namespace corda::linalg {

namespace {

// A filter may enlarge the largest direction this much against those at the end of the block: what
// is left of fp64 then still tells these to 1e-5.
constexpr double kDynamicRange = 1e11;
constexpr std::int64_t kHighestDegree = 20;
constexpr std::int64_t kFewestExtra = 16;
// The filter's cut is at least this share of the r-th value, should the block reach into the null
// space.
constexpr double kLowestCut = 1e-3;

std::tuple<at::Tensor, at::Tensor> eigh(const at::Tensor& matrix) {
  try {
    return at::linalg_eigh(matrix);
  } catch (const c10::LinAlgError& error) {
    throw core::NumericalError(
        core::concat("[linalg::subspace_iteration] syevd failed on a matrix ", matrix.sizes(), ": ",
                     error.what_without_backtrace()));
  }
}

}  // namespace

SubspaceIteration::SubspaceIteration(Operator apply, std::int64_t n, std::int64_t r,
                                     at::Device device)
    : apply_(std::move(apply)),
      n_(n),
      r_(r),
      p_(std::min(n, r + std::max(r / 2, kFewestExtra))),
      device_(device) {}

at::Tensor SubspaceIteration::apply(const at::Tensor& block) {
  ++applications_;
  return apply_(block);
}

bool SubspaceIteration::start() {
  return rayleigh_ritz(apply(scrambled(n_, p_, /*seed=*/1, device_)));
}

bool SubspaceIteration::filter(double gain) {
  const double cut = std::max(pairs_.beyond, kLowestCut * pairs_.smallest);
  if (!(cut > 0)) return false;
  // T_d((2 A - cut) / cut): within [-1, 1] on [0, cut], growing fast above it.
  const double scale = 2 / cut;
  at::Tensor before = pairs_.vectors;
  at::Tensor now = pairs_.images * scale - before;
  const std::int64_t last = degree(gain, cut);
  for (std::int64_t d = 2; d <= last; ++d) {
    at::Tensor next = apply(now).mul_(2 * scale).sub_(now, 2).sub_(before);
    before = std::exchange(now, std::move(next));
  }
  return rayleigh_ritz(now);
}

bool SubspaceIteration::rayleigh_ritz(const at::Tensor& block) {
  const auto basis = orthonormal(block);
  if (!basis) return false;
  const at::Tensor images = apply(*basis);
  const at::Tensor small = at::mm(basis->t(), images);
  const auto [values, vectors] = eigh((small + small.t()).div_(2));
  const at::Tensor turn = vectors.flip(1);
  pairs_.vectors = at::mm(*basis, turn);
  pairs_.images = at::mm(images, turn);
  pairs_.values = values.flip(0);
  const at::Tensor read = at::stack({pairs_.values[0], pairs_.values[r_ - 1], pairs_.values[p_ - 1],
                                     pairs_.top_values(r_).mean()})
                              .cpu();
  const auto* numbers = read.const_data_ptr<double>();
  pairs_.largest = numbers[0];
  pairs_.smallest = numbers[1];
  pairs_.beyond = numbers[2];
  pairs_.mean = numbers[3];
  return true;
}

std::int64_t SubspaceIteration::degree(double gain, double cut) const {
  // T_d(cosh t) = cosh(d t).
  const auto rate = [&](double value) { return std::acosh(std::max(1.0, 2 * value / cut - 1)); };
  const double wanted = rate(pairs_.smallest);
  const double largest = rate(pairs_.largest);
  double result = kHighestDegree;
  if (wanted > 0) result = std::min(result, std::ceil(std::acosh(gain) / wanted));
  if (largest > 0) result = std::min(result, std::floor(std::acosh(kDynamicRange) / largest));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(result));
}

double SubspaceIteration::shortfall(const at::Tensor& allowances) const {
  const at::Tensor values = pairs_.top_values(r_);
  const at::Tensor residuals = pairs_.top_images(r_) - pairs_.top_vectors(r_) * values;
  const at::Tensor squares = residuals.square().sum(at::IntArrayRef{0});
  // Schur complement of S - A with respect to the directions outside the block, whose eigenvalues
  // are taken to end at `beyond`.
  const at::Tensor gaps = at::maximum(values - pairs_.beyond, allowances);
  return (squares / (allowances * gaps)).max().item<double>();
}

}  // namespace corda::linalg
