// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// KPA: the smallest singular directions of W C~ as the largest eigenvectors of an inverse.
#include <ATen/ATen.h>

#include <cmath>
#include <optional>

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
// Above this the factor of W is made again; it is cheaper to find out before the inverse is built.
constexpr double kFactorError = 3e-4;
// Of a Gram matrix's trace: lets its Cholesky factorisation pass where rounding made it singular.
constexpr double kShift = 1e-15;

// For a square K whose left singular vectors, lifted, are those of M = W C~.
struct Inverse {
  at::Tensor matrix;  // H = (K K^T)^-1 up to the error [k, k]
  // The i-th smallest squared singular value of M is at least (1 - error) / (the i-th largest
  // eigenvalue of H).
  double error = 0;
  double total = 0;  // ||M||_F
  std::string route;
};

at::Tensor cholesky(const at::Tensor& matrix, const char* what) {
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
  return cholesky(shifted, what);
}

// W with at least as many rows as columns, W^T W = L L^T: W = Q L^T, K = L^T C~ and U = Q U_K.
// Where squaring the condition number of W loses its small singular values, a second pass on
// W L^-T restores them.
class TallInverse {
 public:
  TallInverse(const at::Tensor& weight, DampedCovariance& covariance)
      : weight_(weight), covariance_(covariance) {
    const at::Tensor gram = gram_of_columns(weight);
    result_.total = std::sqrt((gram * covariance.square()).sum().item<double>());
    lower_ = first_cholesky(gram, "W^T W");
    result_.route = "cholesky-inverse";
    probes_ = probes(weight.size(1), weight.device());
    double tilt = factor_error();
    if (!(tilt <= kFactorError)) {
      const at::Tensor q = solve(lower_, weight.t());
      lower_ = at::mm(lower_, cholesky(gram_of_rows(q), "the second Gram matrix"));
      result_.route = "cholesky-inverse-twice";
      tilt = factor_error();
    }
    // K^-T = L^-1 C~^-1 up to rounding, so (K K^T)^-1 = K^-T K^-1.
    const at::Tensor half = solve(lower_, covariance_.inverse());
    result_.matrix = gram_of_rows(half);
    // half = (I + F) K^-T exactly for some F. By Ostrowski's theorem the eigenvalues of H are those
    // of (K K^T)^-1 times at least (1 - ||F||)^2, and the squared singular values of M = Q K those
    // of K times at least the smallest eigenvalue of Q^T Q.
    const at::Tensor image = at::mm(half, at::mm(covariance_.matrix(), at::mm(lower_, probes_)));
    const double f = norm_bound(image - probes_);
    result_.error = 1 - (1 - tilt) * std::pow(std::max(0.0, 1 - f), 2);
  }
  const Inverse& result() const { return result_; }
  at::Tensor lift(const at::Tensor& u) const {
    return at::mm(weight_, solve_transposed(lower_, u));
  }

 private:
  // A bound of ||Q^T Q - I||.
  double factor_error() const {
    return norm_bound(solve(lower_, at::mm(weight_.t(), lift(probes_))) - probes_);
  }

  const at::Tensor weight_;
  DampedCovariance& covariance_;
  at::Tensor probes_;
  at::Tensor lower_;
  Inverse result_;
};

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
        cholesky(gram_of_rows(solve(first, product)), "the second Gram matrix");
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
  const at::Tensor wide = weight.to(at::kDouble);
  const bool tall = wide.size(0) >= wide.size(1);
  std::optional<TallInverse> factors;
  if (tall) factors.emplace(wide, covariance);
  const Inverse inverse =
      tall ? factors->result() : wide_inverse(at::mm(wide, covariance.matrix()));
  mark(options, "inverse");
  if (!(inverse.error <= kInverseError))
    throw Refused{concat("the inverse is off by ", inverse.error)};
  const at::Tensor& h = inverse.matrix;
  const RitzPairs pairs = iterate(
      Operator(h), h.size(0), r, h.device(), options,
      [&](const RitzPairs& found) { return found.top_values() * kMargin; },
      [&](const RitzPairs& found, const at::Tensor& allowance) {
        return dominates(h, found.top_vectors(), found.top_values() + allowance,
                         found.smallest * (1 + kMargin));
      });
  Spectrum result;
  result.route = inverse.route + "-chebyshev";
  result.total = inverse.total;
  // One more step of the inverse: it takes out what rounding left of the large directions.
  const at::Tensor u = checked_basis(pairs.top_images());
  settle(wide, covariance.matrix(), tall ? checked_basis(factors->lift(u)) : u, result);
  const double least =
      (1 - inverse.error) / (1 + kMargin) * pairs.top_values().reciprocal().sum().item<double>();
  result.bound = std::sqrt(sum_of_squares(result.values) / least);
  mark(options, "settle");
  if (!(result.bound <= kSmallestBound))
    throw Refused{concat("the energy is proved only to ", result.bound, " of the optimum")};
  return result;
}

}  // namespace corda::linalg
