// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// IPA: the largest singular directions of W C~ as the largest eigenvectors of a Gram matrix.
#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "corda/core/error.h"
#include "linalg/certificate.h"
#include "linalg/gram.h"
#include "linalg/routes.h"
#include "linalg/split.h"

namespace corda::linalg {

using core::concat;

namespace {

// What kLargestBound allows the sum of squares to miss, relative to it.
constexpr double kAllowed = 2 * (1 - kLargestBound);
// The share of it that the error of the Gram matrix may take, and what is left for rounding.
constexpr double kGramShare = 0.25;
constexpr double kReserve = 0.05;

// M M^T or M^T M of M = W C~, whichever is smaller.
struct Gram {
  at::Tensor matrix;  // [k, k], fp64
  double error = 0;   // bound of its distance from the true one, ||.||_F
  std::string route;
};

Gram exact_gram(const at::Tensor& wide, const at::Tensor& damped) {
  const at::Tensor product = at::mm(wide, damped);
  const bool tall = wide.size(0) >= wide.size(1);
  return {.matrix = tall ? gram_of_columns(product) : gram_of_rows(product), .route = "gram"};
}

// From products in fp32, its error measured with fp64 products.
Gram fast_gram(const at::Tensor& weight, const at::Tensor& wide, DampedCovariance& covariance) {
  const bool tall = wide.size(0) >= wide.size(1);
  const at::Tensor product = multiply(pieces_of(weight), covariance.pieces());
  Gram result;
  result.matrix = multiply_by_transpose(pieces_of(tall ? product.t() : product)).to(at::kDouble);
  result.route = "fast-gram";
  const at::Tensor p = probes(result.matrix.size(0), wide.device());
  const at::Tensor& c = covariance.matrix();
  const at::Tensor image = tall ? at::mm(c, at::mm(wide.t(), at::mm(wide, at::mm(c, p))))
                                : at::mm(wide, at::mm(c, at::mm(c, at::mm(wide.t(), p))));
  result.error = norm_bound(image - at::mm(result.matrix, p));
  return result;
}

// Nothing where the error of the Gram matrix is too large.
std::optional<Spectrum> largest_of(const Gram& gram, const at::Tensor& wide,
                                   DampedCovariance& covariance, std::int64_t r,
                                   const SubspaceOptions& options) {
  struct TooRough {};
  const auto rank = static_cast<double>(r);
  // The sum of the r largest eigenvalues of a matrix whose Frobenius norm is e is at most sqrt(r) e
  // (Ky Fan), and so much may the sum of the true Gram matrix exceed this one's.
  const double excess = std::sqrt(rank) * gram.error;
  double most = 0;
  RitzPairs pairs;
  try {
    pairs = iterate(
        [&](const at::Tensor& y) { return at::mm(gram.matrix, y); }, gram.matrix.size(0), r,
        wide.device(), options,
        [&](const RitzPairs& found) {
          const double sum = rank * found.mean;
          if (!(excess <= kGramShare * kAllowed * sum)) throw TooRough{};
          // The error counts twice: in what the optimum may be and in what was found.
          const double allowance = (kAllowed * (1 - kReserve) * sum - 2 * excess) / rank;
          return at::full({r}, allowance, found.values.options());
        },
        [&](const RitzPairs& found, const at::Tensor& allowance) {
          const at::Tensor values = found.top_values(r) + allowance;
          most = values.sum().item<double>() + excess;
          return dominates(gram.matrix, found.top_vectors(r), values, values[r - 1].item<double>());
        });
  } catch (const TooRough&) {
    return std::nullopt;
  }
  Spectrum result;
  result.route = gram.route + "-chebyshev";
  result.total = std::sqrt(gram.matrix.diagonal().sum().item<double>());
  at::Tensor u = pairs.top_vectors(r);
  if (wide.size(0) >= wide.size(1)) u = checked_basis(at::mm(wide, at::mm(covariance.matrix(), u)));
  settle(wide, covariance.matrix(), u, Which::kLargest, result);
  result.bound = std::min(1.0, std::sqrt(sum_of_squares(result.values) / most));
  mark(options, "settle");
  if (!(result.bound >= kLargestBound))
    throw Refused{concat("the energy is proved only to ", result.bound, " of the optimum")};
  return result;
}

}  // namespace

Spectrum largest_by_gram(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                         const SubspaceOptions& options) {
  const at::Tensor wide = weight.to(at::kDouble);
  Gram gram = fast_gram(weight, wide, covariance);
  mark(options, "gram");
  if (auto result = largest_of(gram, wide, covariance, r, options)) return *result;
  gram = exact_gram(wide, covariance.matrix());
  mark(options, "exact gram");
  return *largest_of(gram, wide, covariance, r, options);
}

}  // namespace corda::linalg
