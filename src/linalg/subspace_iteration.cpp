// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/subspace_iteration.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "linalg/dense.h"
#include "linalg/orthonormal.h"

namespace corda::linalg {

namespace {

// A filter may enlarge the largest direction this much against those at the end of the block: what
// is left of fp64 then still tells these to 1e-4.
constexpr double kDynamicRange = 1e12;
// One filter takes at most so many products. A higher limit saves Ritz pairs (an orthonormalisation
// and an eigenproblem), and spends products on a cut which the next pairs would have mended.
constexpr double kHighestDegree = 36;
// A block has at least so many columns beyond r: they put a distance between the r-th value and the
// cut where r is small, and cost their share of every product.
constexpr std::int64_t kFewestExtra = 16;
// Limits of the cut relative to the r-th value: the block may reach into the null space, or lie in
// a plateau of equal eigenvalues, which a cut below it separates from the rest. At the lowest two
// products gain 1e6 and more; at the highest kHighestDegree of them still gain 1e5.
constexpr double kLowestCut = 1e-3;
constexpr double kHighestCut = 0.97;
// The gain that is asked for is this many times what residuals tell, for a filter enlarges the r-th
// direction by less than its gain where the cut was too low. A few products more may save another
// round.
constexpr double kSafety = 50;
// The largest gain of one filter. A second filter costs less than relying on a wrong cut.
constexpr double kLargestGain = 1e6;

// Cut and degree of a filter, the cut above the lower end.
struct Design {
  double cut = 0;
  std::int64_t degree = 1;
};

// After one product with a scrambled block Ritz values are too low: the p-th was 0.54 to 0.58 of
// the eigenvalue in its place and the r-th 0.64 to 0.74 where the spectrum is flat (Gaussian layers
// of all shapes), 0.5 to 0.6 and 0.9 where it is steep. So where the p-th is near the r-th the cut
// goes above the latter, which shows nothing about the degree; 1 - beyond / smallest does (fitted).
Design design(const RitzPairs& pairs, double gain, bool first, double lowest) {
  constexpr double kRaise = 1.8;  // from the p-th Ritz value to the eigenvalue: 1 / 0.55
  // A spectrum counts as flat where the p-th Ritz value is between these shares of the r-th; above
  // are plateaus of equal values.
  constexpr double kFlat = 0.55;
  constexpr double kPlateau = 0.9;
  // The highest cut for a flat spectrum, relative to the r-th Ritz value: it is still below the
  // eigenvalue.
  constexpr double kFlatCut = 1.25;
  // The degree is kFlatDegree / (1 - share)^kFlatPower, fitted to Gaussian layers.
  constexpr double kFlatDegree = 3.4;
  constexpr double kFlatPower = 1.3;
  const double smallest = pairs.smallest - lowest;
  const double share = (pairs.beyond - lowest) / smallest;
  const bool flat = first && share > kFlat && share < kPlateau;
  Design result;
  result.cut = std::clamp((first ? kRaise : 1) * share, kLowestCut, flat ? kFlatCut : kHighestCut) *
               smallest;
  // T_d(cosh t) = cosh(d t).
  const auto rate = [&](double value) {
    return std::acosh(std::max(1.0, 2 * value / result.cut - 1));
  };
  double degree = kHighestDegree;
  if (flat) {
    degree = std::min(degree, std::ceil(kFlatDegree / std::pow(1 - share, kFlatPower)));
  } else if (const double wanted = rate(smallest); wanted > 0) {
    degree = std::min(degree, std::ceil(std::acosh(gain) / wanted));
  }
  if (const double largest = rate(pairs.largest - lowest); largest > 0)
    degree = std::min(degree, std::floor(std::acosh(kDynamicRange) / largest));
  result.degree = std::max<std::int64_t>(1, static_cast<std::int64_t>(degree));
  return result;
}

}  // namespace

at::Tensor Operator::operator()(const at::Tensor& y) const {
  return matrix_.defined() ? at::mm(matrix_, y) : function_(y);
}

at::Tensor Operator::next(at::Tensor before, const at::Tensor& now, double scale,
                          double shift) const {
  if (matrix_.defined()) return before.addmm_(matrix_, now, -1, 2 * scale).sub_(now, 2 * shift);
  return function_(now).mul_(2 * scale).sub_(now, 2 * shift).sub_(before);
}

std::int64_t block_size(std::int64_t n, std::int64_t r) {
  return std::min(n, r + std::max(r / 2, kFewestExtra));
}

std::optional<RitzPairs> rayleigh_ritz(const Operator& apply, const at::Tensor& block,
                                       std::int64_t r) {
  const auto basis = orthonormal(block);
  if (!basis) return std::nullopt;
  const at::Tensor images = apply(*basis);
  const at::Tensor small = at::mm(basis->t(), images);
  const auto [values, vectors] = eigenpairs((small + small.t()).div_(2));
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
  // This is the Schur complement with respect to the directions outside the block, whose
  // eigenvalues are taken to end at `beyond`.
  const at::Tensor gaps = at::maximum(values - pairs.beyond, allowances);
  return (squares / (allowances * gaps)).max().item<double>();
}

std::optional<Filtered> filter(const Operator& apply, const RitzPairs& pairs, double gain,
                               bool first, double lowest) {
  if (!(pairs.smallest > lowest)) return std::nullopt;
  const auto [cut, degree] = design(pairs, gain, first, lowest);
  const double scale = 2 / cut;
  const double shift = 1 + scale * lowest;
  at::Tensor before = pairs.vectors.clone();
  at::Tensor now = (pairs.images * scale).sub_(before, shift);
  for (std::int64_t d = 2; d <= degree; ++d) {
    at::Tensor next = apply.next(std::move(before), now, scale, shift);
    before = std::exchange(now, std::move(next));
  }
  return Filtered{now, degree};
}

double gain_for(double shortfall) {
  return std::clamp(kSafety * std::sqrt(shortfall), kSafety, kLargestGain);
}

}  // namespace corda::linalg
