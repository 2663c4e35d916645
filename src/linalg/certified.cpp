// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "corda/core/error.h"
#include "corda/linalg/spectrum.h"
#include "linalg/certificate.h"
#include "linalg/checks.h"
#include "linalg/gram.h"
#include "linalg/lanczos.h"

namespace corda::linalg {

using core::concat;
using core::NumericalError;

namespace {

// Why a fast route gave up.
struct Refused {
  std::string reason;
};

constexpr std::int64_t kProbes = 16;
// Share of the permitted error that the certificate of KPA's inverse may use up for each
// eigenvalue; the rest is left to the iteration and to the inverse.
constexpr double kMargin = 1e-3;
constexpr double kInverseError = 5e-4;
// Of a Gram matrix's trace: lets its Cholesky factorisation pass where rounding made it singular.
constexpr double kShift = 1e-15;
// Ritz residuals above this are not worth a Cholesky factorisation.
constexpr double kHopeless = 0.05;

std::int64_t block_of(std::int64_t r) {
  return std::clamp<std::int64_t>((r / 2 + 7) / 8 * 8, 8, 64);
}

// Grows the basis through `stages` (blocks of the basis) until `accept` takes the Ritz pairs.
template <typename Accept>
RitzPairs iterate(const Operator& apply, std::int64_t n, std::int64_t r, at::Device device,
                  const SubspaceOptions& options, std::initializer_list<std::int64_t> stages,
                  Accept accept) {
  const std::int64_t block = block_of(r);
  BlockLanczos lanczos(apply, n, block, options.basis_limit, device);
  double residual = 0;
  for (const std::int64_t stage : stages) {
    // Stages are for r = 2 blocks; more blocks where r is larger.
    const std::int64_t columns = std::max(stage * block, stage * r / 2);
    const bool grown = lanczos.extend_to(columns);
    if (lanczos.columns() < r) break;
    RitzPairs pairs = lanczos.largest(r);
    residual = pairs.residual;
    if (residual < kHopeless && accept(pairs)) return pairs;
    if (!grown) break;
  }
  throw Refused{
      concat("no proof after ", lanczos.columns(), " Krylov columns, residual ", residual)};
}

// (K K^T)^-1 for a square K whose left singular vectors, lifted, are those of W C~.
struct Inverse {
  at::Tensor matrix;  // [k, k]
  double error = 0;   // bound of ||I - X K K^T X^T||_2, X^T X = matrix
  double total = 0;   // ||W C~||_F
  std::string route;
};

at::Tensor solve(const at::Tensor& lower, const at::Tensor& b) {
  return at::linalg_solve_triangular(lower, b, /*upper=*/false);
}
at::Tensor solve_transposed(const at::Tensor& lower, const at::Tensor& b) {
  return at::linalg_solve_triangular(lower.t(), b, /*upper=*/true);
}

at::Tensor cholesky(const at::Tensor& matrix, const char* what) {
  auto [lower, info] = at::linalg_cholesky_ex(matrix);
  if (info.item<int>() != 0) throw Refused{concat(what, " is not positive definite to rounding")};
  return lower;
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
    at::Tensor shifted = gram.clone();
    shifted.diagonal().add_(kShift * gram.diagonal().sum());
    lower_ = cholesky(shifted, "W^T W");
    build("cholesky-inverse");
    if (result_.error <= kInverseError) return;
    const at::Tensor q = solve(lower_, weight.t());
    lower_ = at::mm(lower_, cholesky(gram_of_rows(q), "the second Gram matrix"));
    build("cholesky-inverse-twice");
  }
  const Inverse& result() const { return result_; }
  at::Tensor lift(const at::Tensor& u) const {
    return at::mm(weight_, solve_transposed(lower_, u));
  }

 private:
  void build(const char* route) {
    // K^-T = L^-1 C~^-1, so (K K^T)^-1 = K^-T K^-1.
    const at::Tensor half = solve(lower_, covariance_.inverse());
    result_.matrix = gram_of_rows(half);
    result_.route = route;
    const at::Tensor& damped = covariance_.matrix();
    const at::Tensor p = scrambled(half.size(0), kProbes, /*seed=*/2, half.device());
    const auto project = [&](const at::Tensor& y) { return solve(lower_, at::mm(weight_.t(), y)); };
    const double tilt = norm_bound(project(lift(p)) - p, p);  // of Q^T Q from I
    // K K^T through W itself: Q^T W C~ C~ W^T Q.
    const at::Tensor x = at::mm(damped, at::mm(weight_.t(), lift(at::mm(half, p))));
    const at::Tensor y = project(at::mm(weight_, at::mm(damped, x)));
    result_.error = tilt + norm_bound(at::mm(half.t(), y) - p, p);
  }

  const at::Tensor weight_;
  DampedCovariance& covariance_;
  at::Tensor lower_;
  Inverse result_;
};

// W with fewer rows than columns: M = W C~ and G = M M^T, k x k. Where squaring the condition
// number of M loses the small eigenvalues, a second pass on L1^-1 M restores them (shifted Cholesky
// QR, Fukaya et al. 2020).
Inverse wide_inverse(const at::Tensor& product) {
  const std::int64_t k = product.size(0);
  at::Tensor gram = gram_of_rows(product);
  const double trace = gram.diagonal().sum().item<double>();
  gram.diagonal().add_(kShift * trace);
  const at::Tensor first = cholesky(gram, "W C~^2 W^T");
  const at::Tensor identity = at::eye(k, gram.options());
  at::Tensor inverse = solve(first, identity);  // X
  const at::Tensor p = scrambled(k, kProbes, /*seed=*/2, gram.device());
  const auto error = [&] {
    const at::Tensor image = at::mm(product, at::mm(product.t(), at::mm(inverse.t(), p)));
    return norm_bound(at::mm(inverse, image) - p, p);
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

// Singular values of W C~ within span(u), smallest or largest first, and u turned to match.
void settle(const at::Tensor& weight, const at::Tensor& damped, const at::Tensor& u, Which which,
            Spectrum& result) {
  const at::Tensor rows = at::mm(at::mm(u.t(), weight), damped);
  const auto [values, vectors] = at::linalg_eigh(at::mm(rows, rows.t()));
  const bool flip = which == Which::kLargest;
  const at::Tensor turned = at::mm(u, vectors);
  result.values = (flip ? values.flip(0) : values).clamp_min(0).sqrt();
  result.vectors = flip ? turned.flip(1) : turned;
}

double squares(const at::Tensor& values) { return values.square().sum().item<double>(); }

at::Tensor checked_basis(const at::Tensor& z) {
  auto basis = orthonormal(z);
  if (!basis) throw Refused{"the directions found are linearly dependent"};
  return *basis;
}

Spectrum smallest(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                  const SubspaceOptions& options) {
  const bool tall = weight.size(0) >= weight.size(1);
  std::optional<TallInverse> factors;
  if (tall) factors.emplace(weight, covariance);
  const Inverse inverse =
      tall ? factors->result() : wide_inverse(at::mm(weight, covariance.matrix()));
  if (!(inverse.error <= kInverseError))
    throw Refused{concat("the inverse is off by ", inverse.error)};
  const at::Tensor& h = inverse.matrix;
  const RitzPairs pairs =
      iterate([&](const at::Tensor& y) { return at::mm(h, y); }, h.size(0), r, h.device(), options,
              {12, 16, 24},
              [&](const RitzPairs& found) {
                const at::Tensor values = found.values * (1 + kMargin);
                return dominates(h, found.vectors, values, values[r - 1].item<double>());
              });
  Spectrum result;
  result.route = inverse.route + "-lanczos";
  result.total = inverse.total;
  // One more step of the inverse: it takes out what rounding left of the large directions.
  const at::Tensor u = checked_basis(pairs.images);
  settle(weight, covariance.matrix(), tall ? checked_basis(factors->lift(u)) : u, Which::kSmallest,
         result);
  const double least =
      (1 - inverse.error) / (1 + kMargin) * pairs.values.reciprocal().sum().item<double>();
  result.bound = std::sqrt(squares(result.values) / least);
  if (!(result.bound <= kSmallestBound))
    throw Refused{concat("the energy is proved only to ", result.bound, " of the optimum")};
  return result;
}

Spectrum largest(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                 const SubspaceOptions& options) {
  const at::Tensor product = at::mm(weight, covariance.matrix());
  const bool tall = weight.size(0) >= weight.size(1);
  const at::Tensor gram = tall ? gram_of_columns(product) : gram_of_rows(product);
  double most = 0;
  const RitzPairs pairs = iterate(
      [&](const at::Tensor& y) { return at::mm(gram, y); }, gram.size(0), r, gram.device(), options,
      {6, 14, 20, 24},
      [&](const RitzPairs& found) {
        // The same allowance for every eigenvalue; 2 (1 - bound) of their mean is the limit.
        const double allowance = 1.5 * (1 - kLargestBound) * found.values.mean().item<double>();
        const at::Tensor values = found.values + allowance;
        most = values.sum().item<double>();
        return dominates(gram, found.vectors, values, values[r - 1].item<double>());
      });
  Spectrum result;
  result.route = "gram-lanczos";
  result.total = std::sqrt(gram.diagonal().sum().item<double>());
  const at::Tensor u = tall ? checked_basis(at::mm(product, pairs.vectors)) : pairs.vectors;
  settle(weight, covariance.matrix(), u, Which::kLargest, result);
  result.bound = std::min(1.0, std::sqrt(squares(result.values) / most));
  if (!(result.bound >= kLargestBound))
    throw Refused{concat("the energy is proved only to ", result.bound, " of the optimum")};
  return result;
}

Spectrum generalised(const at::Tensor& task, DampedCovariance& knowledge, std::int64_t r,
                     const SubspaceOptions& options) {
  const at::Tensor& lower = knowledge.factor();
  double most = 0;
  const RitzPairs pairs = iterate(
      [&](const at::Tensor& y) { return solve(lower, at::mm(task, solve_transposed(lower, y))); },
      task.size(0), r, task.device(), options, {8, 12, 16, 24},
      [&](const RitzPairs& found) {
        const double allowance = (1 - kGeneralisedBound) / 2 * found.values.mean().item<double>();
        const at::Tensor values = found.values + allowance;
        most = values.sum().item<double>();
        return dominates(task, at::mm(lower, found.vectors), values, values[r - 1].item<double>(),
                         knowledge.matrix());
      });
  Spectrum result;
  result.route = "cholesky-lanczos";
  result.values = pairs.values;
  result.vectors = solve_transposed(lower, pairs.vectors);
  result.total = (knowledge.inverse() * task).sum().item<double>();
  result.bound = pairs.values.sum().item<double>() / most;
  return result;
}

// The fast route where it applies and proves its result, else the exact one.
template <typename Fast, typename Exact>
Spectrum fast_or_exact(std::int64_t size, std::int64_t r, const SubspaceOptions& options, Fast fast,
                       Exact exact) {
  if (options.exact || size < options.smallest_size || r > size / 8) return exact();
  std::string reason;
  try {
    Spectrum result = fast();
    result.vectors = fix_signs(result.vectors);
    return result;
  } catch (const Refused& refused) {
    reason = refused.reason;
  } catch (const NumericalError& error) {
    reason = error.what();
  }
  Spectrum result = exact();
  result.refused = reason;
  return result;
}

}  // namespace

Spectrum certified_subspace(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                            Which which, const SubspaceOptions& options) {
  check_layer("certified_subspace", weight, covariance.matrix());
  const std::int64_t size = std::min(weight.size(0), weight.size(1));
  check_rank("certified_subspace", r, size);
  const at::Tensor wide = weight.to(at::kDouble);
  return fast_or_exact(
      size, r, options,
      [&] {
        return which == Which::kSmallest ? smallest(wide, covariance, r, options)
                                         : largest(wide, covariance, r, options);
      },
      [&] { return left_singular_subspace(wide, covariance.matrix(), r, which); });
}

Spectrum certified_generalised_top(const at::Tensor& task, DampedCovariance& knowledge,
                                   std::int64_t r, const SubspaceOptions& options) {
  check_pair("certified_generalised_top", task, knowledge.matrix());
  check_rank("certified_generalised_top", r, task.size(0));
  const at::Tensor wide = task.to(at::kDouble);
  return fast_or_exact(
      task.size(0), r, options, [&] { return generalised(wide, knowledge, r, options); },
      [&] { return generalised_top(wide, knowledge.matrix(), r); });
}

}  // namespace corda::linalg
