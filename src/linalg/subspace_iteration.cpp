// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/subspace_iteration.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "corda/core/error.h"
#include "linalg/orthonormal.h"

namespace corda::linalg {

namespace {

// A filter may enlarge the largest direction this much against those at the end of the block: what
// is left of fp64 then still tells these to 1e-5.
constexpr double kDynamicRange = 1e11;
constexpr double kHighestDegree = 24;
constexpr std::int64_t kFewestExtra = 16;
// The cut is at least this share of the r-th value, should the block reach into the null space.
constexpr double kLowestCut = 1e-3;
// After one product with a scrambled block the last Ritz value was 0.48 to 0.6 of the eigenvalue
// in its place, for flat and for steep spectra; the cut must stay below the r-th.
constexpr double kFirstRaise = 1.5;
constexpr double kFirstHighest = 0.95;
// A filter enlarges the r-th direction by less than its gain where the cut was too low.
constexpr double kSafety = 50;
constexpr double kLargestGain = 1e6;

std::tuple<at::Tensor, at::Tensor> eigh(const at::Tensor& matrix) {
  try {
    return at::linalg_eigh(matrix);
  } catch (const c10::LinAlgError& error) {
    throw core::NumericalError(core::concat("[linalg::rayleigh_ritz] syevd failed on a matrix ",
                                            matrix.sizes(), ": ", error.what_without_backtrace()));
  }
}

std::int64_t degree_of(const RitzPairs& pairs, double gain, double cut) {
  // T_d(cosh t) = cosh(d t).
  const auto rate = [&](double value) { return std::acosh(std::max(1.0, 2 * value / cut - 1)); };
  const double wanted = rate(pairs.smallest);
  const double largest = rate(pairs.largest);
  double result = kHighestDegree;
  if (wanted > 0) result = std::min(result, std::ceil(std::acosh(gain) / wanted));
  if (largest > 0) result = std::min(result, std::floor(std::acosh(kDynamicRange) / largest));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(result));
}

}  // namespace

std::int64_t block_size(std::int64_t n, std::int64_t r) {
  return std::min(n, r + std::max(r / 2, kFewestExtra));
}

std::optional<RitzPairs> rayleigh_ritz(const Operator& apply, const at::Tensor& block,
                                       std::int64_t r) {
  const auto basis = orthonormal(block);
  if (!basis) return std::nullopt;
  const at::Tensor images = apply(*basis);
  const at::Tensor small = at::mm(basis->t(), images);
  const auto [values, vectors] = eigh((small + small.t()).div_(2));
  const at::Tensor turn = vectors.flip(1);
  RitzPairs pairs;
  pairs.r = r;
  pairs.vectors = at::mm(*basis, turn);
  pairs.images = at::mm(images, turn);
  pairs.values = values.flip(0);
  const at::Tensor read = pairs.values.cpu();
  const auto* numbers = read.const_data_ptr<double>();
  pairs.largest = numbers[0];
  pairs.smallest = numbers[r - 1];
  pairs.beyond = numbers[read.numel() - 1];
  for (std::int64_t i = 0; i < r; ++i) pairs.sum += numbers[i];
  return pairs;
}

double shortfall(const RitzPairs& pairs, const at::Tensor& allowances) {
  const at::Tensor values = pairs.top_values();
  const at::Tensor residuals = pairs.top_images() - pairs.top_vectors() * values;
  const at::Tensor squares = residuals.square().sum(at::IntArrayRef{0});
  // Schur complement with respect to the directions outside the block, whose eigenvalues are taken
  // to end at `beyond`.
  const at::Tensor gaps = at::maximum(values - pairs.beyond, allowances);
  return (squares / (allowances * gaps)).max().item<double>();
}

std::optional<at::Tensor> filter(const Operator& apply, const RitzPairs& pairs, double gain,
                                 bool first) {
  double cut = std::max(pairs.beyond, kLowestCut * pairs.smallest);
  if (first) cut = std::min(kFirstRaise * cut, std::max(cut, kFirstHighest * pairs.smallest));
  if (!(cut > 0)) return std::nullopt;
  const double scale = 2 / cut;
  at::Tensor before = pairs.vectors;
  at::Tensor now = pairs.images * scale - before;
  const std::int64_t degree = degree_of(pairs, gain, cut);
  for (std::int64_t d = 2; d <= degree; ++d) {
    at::Tensor next = apply(now).mul_(2 * scale).sub_(now, 2).sub_(before);
    before = std::exchange(now, std::move(next));
  }
  return now;
}

double gain_for(double shortfall) {
  return std::clamp(kSafety * std::sqrt(shortfall), kSafety, kLargestGain);
}

}  // namespace corda::linalg
