// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// KPA: the smallest singular directions of W C~ as the largest eigenvectors of an inverse.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "corda/core/error.h"
#include "linalg/certificate.h"
#include "linalg/gram.h"
#include "linalg/routes.h"

namespace corda::linalg {

using core::concat;

namespace {

// The bound kSmallestBound allows an error of 2e-3 of the sum of squares. This share of each
// eigenvalue is for the proof of the iteration, and at most kInverseError is for the inverse.
constexpr double kMargin = 1e-3;
constexpr double kInverseError = 8e-4;
// Where the factor's error is above this it is made again; it is cheaper to find that out before
// the inverse is built.
constexpr double kFactorError = 3e-4;
// A proof that fails again and again while residuals fall fails by rounding, which more products
// cannot help: beside one singular value far below the others, n eps times the largest entry of the
// inverse is more than the proof has to spare.
constexpr int kMostProofs = 3;
// This share of a Gram matrix's trace is added to its diagonal where rounding made it singular, so
// that Cholesky passes.
constexpr double kShift = 1e-15;

// What stands for M = W C~: a square K [k, k], k = min(out, in), with the singular values of M.
struct Inverse {
  at::Tensor matrix;  // H = (K K^T)^-1 up to the error [k, k]
  at::Tensor lower;   // L of `lift` where W is tall; else undefined: K's vectors are those of M
  // The i-th smallest squared singular value of M is at least (1 - error) / (the i-th largest
  // eigenvalue of H).
  double error = 0;
  double total = 0;  // ||M||_F
  std::string route;
};

at::Tensor gram_cholesky(const at::Tensor& matrix, const char* what) {
  auto [lower, info] = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) throw Refused{concat(what, " is not positive definite to rounding")};
  return lower;
}

// The factor of a Gram matrix, or of the matrix with a shift where rounding made it indefinite. A
// shift is an error of its own, so it is not made without need.
at::Tensor first_cholesky(const at::Tensor& gram, const char* what) {
  auto [lower, info] = at::linalg_cholesky_ex(gram);
  if (info.item<int>() == 0) return lower;
  at::Tensor shifted = gram.clone();
  shifted.diagonal().add_(kShift * gram.diagonal().sum());
  return gram_cholesky(shifted, what);
}

// Q u, Q = W L^-T of W^T W = L L^T: left singular vectors of M from those of K.
at::Tensor lift(const at::Tensor& weight, const at::Tensor& lower, const at::Tensor& u) {
  return at::mm(weight, solve_transposed(lower, u));
}

// W with at least as many rows as columns, W^T W = L L^T: W = Q L^T, K = L^T C~ and M = Q K. Where
// squaring the condition number of W loses its small singular values, a second pass on Q restores
// them.
Inverse tall_inverse(const at::Tensor& weight, DampedCovariance& covariance) {
  const at::Tensor gram = gram_of_columns(weight);
  Inverse result;
  result.total = std::sqrt((gram * covariance.square()).sum().item<double>());
  result.lower = first_cholesky(gram, "W^T W");
  result.route = "cholesky-inverse";
  const at::Tensor p = probes(weight.size(1), weight.device());
  // A bound of ||Q^T Q - I||.
  const auto factor_error = [&] {
    const at::Tensor image = at::mm(weight.t(), lift(weight, result.lower, p));
    return norm_bound(solve(result.lower, image) - p);
  };
  double tilt = factor_error();
  if (!(tilt <= kFactorError)) {
    const at::Tensor q = solve(result.lower, weight.t());
    result.lower = at::mm(result.lower, gram_cholesky(gram_of_rows(q), "the second Gram matrix"));
    result.route = "cholesky-inverse-twice";
    tilt = factor_error();
  }
  // K^-T = L^-1 C~^-1 up to rounding, so (K K^T)^-1 = K^-T K^-1.
  const at::Tensor half = solve(result.lower, covariance.inverse());
  result.matrix = gram_of_rows(half);
  // half = (I + F) K^-T exactly for some F. By Ostrowski's theorem the eigenvalues of H are those
  // of (K K^T)^-1 times at least (1 - ||F||)^2, and the squared singular values of M = Q K those of
  // K times at least the smallest eigenvalue of Q^T Q.
  const at::Tensor image = at::mm(half, at::mm(covariance.matrix(), at::mm(result.lower, p)));
  const double f = norm_bound(image - p);
  result.error = f < 1 ? 1 - (1 - tilt) * std::pow(1 - f, 2) : 1;
  return result;
}

// W with fewer rows than columns: M = W C~ and G = M M^T, k x k. Where squaring the condition
// number of M loses the small eigenvalues, a second pass on L1^-1 M restores them (shifted Cholesky
// QR, Fukaya et al. 2020).
Inverse wide_inverse(const at::Tensor& product) {
  const std::int64_t k = product.size(0);
  const at::Tensor gram = gram_of_rows(product);
  const double trace = gram.diagonal().sum().item<double>();
  const at::Tensor first = first_cholesky(gram, "W C~^2 W^T");
  const at::Tensor identity = at::eye(k, gram.options());
  at::Tensor inverse = solve(first, identity);  // X
  const at::Tensor p = probes(k, gram.device());
  // X G X^T = I - E, so G^-1 = X^T (I - E)^-1 X, whose eigenvalues are those of H = X^T X times at
  // most 1 / (1 - ||E||).
  const auto error = [&] {
    const at::Tensor image = at::mm(product, at::mm(product.t(), at::mm(inverse.t(), p)));
    return norm_bound(at::mm(inverse, image) - p);
  };
  Inverse result;
  result.total = std::sqrt(trace);
  result.route = "gram-inverse";
  result.error = error();
  if (!(result.error <= kInverseError)) {
    const at::Tensor second =
        gram_cholesky(gram_of_rows(solve(first, product)), "the second Gram matrix");
    inverse = solve(second, inverse);
    result.route = "gram-inverse-twice";
    result.error = error();
  }
  result.matrix = gram_of_rows(inverse.t());
  return result;
}

// Sets the singular values of W C~ within span(u), the smallest first, and u turned to match.
void settle(const at::Tensor& weight, const at::Tensor& damped, const at::Tensor& u,
            Spectrum& result) {
  const at::Tensor rows = at::mm(at::mm(u.t(), weight), damped);
  const auto [values, vectors] = eigenpairs(at::mm(rows, rows.t()));
  result.values = values.clamp_min(0).sqrt();
  result.vectors = at::mm(u, vectors);
}

}  // namespace

Spectrum smallest_by_inverse(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                             const SubspaceOptions& options) {
  const at::Tensor w = weight.to(at::kDouble);
  const bool tall = w.size(0) >= w.size(1);
  const Inverse inverse =
      tall ? tall_inverse(w, covariance) : wide_inverse(at::mm(w, covariance.matrix()));
  mark(options, "inverse");
  if (!(inverse.error <= kInverseError))
    throw Refused{concat("the inverse is off by ", inverse.error)};
  const at::Tensor& h = inverse.matrix;
  int failed = 0;
  const RitzPairs pairs = iterate(
      Operator(h), h.size(0), r, h.device(), options,
      [&](const RitzPairs& found) { return found.top_values() * kMargin; },
      [&](const RitzPairs& found, const at::Tensor& allowance) {
        const bool proved = dominates(h, found.top_vectors(), found.top_values() + allowance,
                                      found.smallest * (1 + kMargin));
        if (!proved && ++failed == kMostProofs)
          throw Refused{concat("the proof failed ", failed, " times while residuals fell")};
        return proved;
      });
  Spectrum result;
  result.route = inverse.route + "-chebyshev";
  result.total = inverse.total;
  // One more step of the inverse: it takes out what rounding left of the large directions.
  at::Tensor u = checked_basis(pairs.top_images());
  if (tall) u = checked_basis(lift(w, inverse.lower, u));
  settle(w, covariance.matrix(), u, result);
  const double least =
      (1 - inverse.error) / (1 + kMargin) * pairs.top_values().reciprocal().sum().item<double>();
  result.bound = std::sqrt(sum_of_squares(result.values) / least);
  mark(options, "settle");
  // A bound below 1 would say that more was found than there is.
  if (const std::string why = unproved(result, 1, kSmallestBound); !why.empty()) throw Refused{why};
  return result;
}

}  // namespace corda::linalg
