// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// IPA: the largest singular directions of W C~ as the largest eigenvectors of a Gram matrix.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "linalg/certificate.h"
#include "linalg/gram.h"
#include "linalg/numbers.h"
#include "linalg/routes.h"
#include "linalg/split.h"

namespace corda::linalg {

namespace {

// What the proof may add to the sum of squares, relative to it. kLargestBound is on the square
// root, hence the 2; what is left of it is for what `finish` changes in the sum.
constexpr double kProofShare = 0.95;
constexpr double kAllowed = kProofShare * 2 * (1 - kLargestBound);
// So many filters, each with Ritz pairs, are tried before the layer is left to by_exact_gram, which
// forms the matrix in fp64 and starts anew.
constexpr int kRounds = 4;
// So many proofs may fail before the layer is left to it: residuals allowed both, so what is
// missing is a gap behind the r-th value, and more filters would not bring one.
constexpr int kMostFailures = 2;

// The gap between what is outside the block and the limit that a proof sets to it is shared out.
// The bound may use up this share of it; with a smaller one it takes more products with the probes.
constexpr double kBoundShare = 0.65;
// The fast matrix's error, which is added to the bound, may take this share. With a smaller one the
// factors, which are slower, would be needed more often.
constexpr double kErrorShare = 0.1;
// The proof is left with the rest, a quarter. `shortfall` counts on the whole gap, so a proof is
// tried where it is at most this.
constexpr double kProvable = 0.25;
// What is outside may exceed the block's last Ritz value, which has not converged, by this factor.
// Where it exceeds it by more the bound comes out higher, and nothing is proved.
constexpr double kOutsideReserve = 1.02;
// The bound is expected to reach at least this share of the limit: in a layer of low rank the last
// Ritz value is rounding, of either sign, and so no scale to measure by.
constexpr double kLeastOutside = 1e-3;
// How far rounding may lift a bound above 1.
constexpr double kRounding = 1e-9;

// G = M M^T or M^T M of M = W C~, whichever is smaller, k x k.
class GramOfLayer {
 public:
  GramOfLayer(const at::Tensor& weight, DampedCovariance& covariance)
      : stored_(weight), weight_fp64_(weight.to(at::kDouble)), covariance_(covariance) {}

  bool tall() const { return weight_fp64_.size(0) > weight_fp64_.size(1); }
  std::int64_t size() const { return std::min(weight_fp64_.size(0), weight_fp64_.size(1)); }
  at::Device device() const { return weight_fp64_.device(); }

  // W C~ y, and C~ W^T y.
  at::Tensor layer(const at::Tensor& y) const {
    return at::mm(weight_fp64_, at::mm(covariance_.matrix(), y));
  }
  at::Tensor transposed(const at::Tensor& y) const {
    return at::mm(covariance_.matrix(), at::mm(weight_fp64_.t(), y));
  }
  // G y in fp64, from the factors.
  at::Tensor apply(const at::Tensor& y) const {
    return tall() ? transposed(layer(y)) : layer(transposed(y));
  }
  Operator by_factors() const {
    return Operator([this](const at::Tensor& y) { return apply(y); });
  }
  // G to about 1e-5, from products of 16-bit pieces.
  at::Tensor fast() const {
    const at::Tensor product = multiply(pieces_of(stored_), covariance_.pieces());
    return multiply_by_transpose(pieces_of(tall() ? product.t() : product)).to(at::kDouble);
  }
  at::Tensor exact() const {
    const at::Tensor product = at::mm(weight_fp64_, covariance_.matrix());
    return tall() ? gram_of_columns(product) : gram_of_rows(product);
  }

  // The left singular vectors and values that belong to the first Ritz pairs of G. A value is
  // ||u^T M||, not the root of the Ritz value: that is wrong by sqrt(eps) of the largest one, and
  // none at all where M has no weight left and rounding makes it negative.
  void finish(const RitzPairs& pairs, Spectrum& result) const {
    const at::Tensor u = tall() ? checked_basis(layer(pairs.top_vectors())) : pairs.top_vectors();
    const at::Tensor rows = at::mm(at::mm(u.t(), weight_fp64_), covariance_.matrix());
    const auto [values, order] =
        at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}).sort(/*dim=*/0, /*descending=*/true);
    result.values = values;
    result.vectors = u.index_select(1, order);
  }

 private:
  at::Tensor stored_;  // W in its stored type
  at::Tensor weight_fp64_;
  DampedCovariance& covariance_;
};

// An upper bound of G's eigenvalues outside the block. The fast matrix serves where its error,
// which is measured, is small against the gap that is to be seen.
double outside_of(const GramOfLayer& gram, const at::Tensor& fast, const RitzPairs& pairs,
                  double allowance) {
  // Degrees up to this are left to the factors. Their products read four matrices where the fast
  // one reads one, but have no error to be measured, by a product with either, and to be added.
  constexpr std::int64_t kShort = 5;
  const double limit = pairs.smallest + allowance;
  const double expected = std::max(
      std::min(kOutsideReserve * pairs.beyond, (pairs.beyond + limit) / 2), kLeastOutside * limit);
  const double enough = expected + kBoundShare * (limit - expected);
  if (complement_degree(gram.size(), expected, enough) > kShort) {
    const at::Tensor p = probes(gram.size(), gram.device());
    const double error = norm_bound(gram.apply(p) - at::mm(fast, p));
    if (error <= kErrorShare * (limit - expected)) {
      return complement_bound(Operator(fast), pairs.vectors, expected, enough) + error;
    }
  }
  return complement_bound(gram.by_factors(), pairs.vectors, expected, enough);
}

// The block for the next Ritz pairs. A flat spectrum needs a long filter, for which the fast matrix
// is good enough when a step with the factors follows; a steep one a short filter, in which the
// fast matrix's error would drown the small directions.
at::Tensor next_block(const GramOfLayer& gram, const Operator& by_matrix, const RitzPairs& pairs,
                      double needed, bool first) {
  // A spectrum is steep where the r-th value is below this share of the first one: the fast
  // matrix's error, about 1e-5 of the first, is then more than a hundredth of the r-th.
  constexpr double kSteep = 1e-3;
  const bool steep = pairs.smallest < kSteep * pairs.largest;
  // The first pairs are the fast matrix's, and so are their images.
  const auto filtered =
      filter(steep ? gram.by_factors() : by_matrix, pairs, gain_for(needed), first);
  if (!filtered) return gram.apply(pairs.vectors);
  return steep && !first ? filtered->block : gram.apply(filtered->block);
}

// Filters, and at last Ritz pairs with the factors, which are what is proved and returned. Nothing
// where the proof does not succeed.
std::optional<Spectrum> by_fast_gram(const GramOfLayer& gram, std::int64_t r,
                                     const SubspaceOptions& options) {
  const at::Tensor fast = gram.fast();
  mark(options, "fast gram");
  const Operator by_matrix(fast);
  const std::int64_t n = gram.size();
  const auto allowance_of = [&](const RitzPairs& found) {
    return kAllowed * found.sum / static_cast<double>(r);
  };
  const auto missing = [&](const RitzPairs& found) {
    return shortfall(found, at::full({r}, allowance_of(found), found.values.options()));
  };
  auto pairs = rayleigh_ritz(
      by_matrix, at::mm(fast, scrambled(n, block_size(n, r), /*seed=*/1, gram.device())), r);
  if (!pairs) return std::nullopt;
  double needed = missing(*pairs);
  int failures = 0;
  mark(options, "start");
  for (int round = 0; round < kRounds && std::isfinite(needed); ++round) {
    const at::Tensor block = next_block(gram, by_matrix, *pairs, needed, round == 0);
    mark(options, "filter");
    pairs = rayleigh_ritz(gram.by_factors(), block, r);
    if (!pairs) return std::nullopt;
    needed = missing(*pairs);
    mark(options, "ritz");
    if (!(needed <= kProvable)) continue;
    const double allowance = allowance_of(*pairs);
    const double outside = outside_of(gram, fast, *pairs, allowance);
    const bool proved = residuals_allow(*pairs, allowance, outside);
    mark(options, "proof");
    if (!proved && ++failures == kMostFailures) return std::nullopt;
    if (!proved) continue;
    Spectrum result;
    result.route = "fast-gram-chebyshev";
    result.total = std::sqrt(fast.diagonal().sum().item<double>());
    gram.finish(*pairs, result);
    result.bound = std::sqrt(sum_of_squares(result.values) /
                             (pairs->sum + static_cast<double>(r) * allowance));
    mark(options, "settle");
    if (unproved(result, kLargestBound, 1 + kRounding).empty()) return result;
  }
  return std::nullopt;
}

// Everything in fp64, with the proof that needs no gap.
Spectrum by_exact_gram(const GramOfLayer& gram, std::int64_t r, const SubspaceOptions& options) {
  const at::Tensor matrix = gram.exact();
  mark(options, "exact gram");
  double most = 0;
  const RitzPairs pairs = iterate(
      Operator(matrix), gram.size(), r, gram.device(), options,
      [&](const RitzPairs& found) {
        return at::full({r}, kAllowed * found.sum / static_cast<double>(r), found.values.options());
      },
      [&](const RitzPairs& found, const at::Tensor& allowance) {
        const at::Tensor values = found.top_values() + allowance;
        most = values.sum().item<double>();
        return dominates(matrix, found.top_vectors(), values, values[r - 1].item<double>());
      });
  Spectrum result;
  result.route = "gram-chebyshev";
  result.total = std::sqrt(matrix.diagonal().sum().item<double>());
  gram.finish(pairs, result);
  result.bound = std::sqrt(sum_of_squares(result.values) / most);
  mark(options, "settle");
  if (const std::string why = unproved(result, kLargestBound, 1 + kRounding); !why.empty())
    throw Refused{why};
  return result;
}

}  // namespace

Spectrum largest_by_gram(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                         const SubspaceOptions& options) {
  const GramOfLayer gram(weight, covariance);
  auto fast = by_fast_gram(gram, r, options);
  Spectrum result = fast ? *fast : by_exact_gram(gram, r, options);
  if (result.bound > 1) result.bound = 1;  // rounding alone lifts it there
  return result;
}

}  // namespace corda::linalg
