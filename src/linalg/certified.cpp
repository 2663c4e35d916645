// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <algorithm>
#include <string>

#include "corda/core/error.h"
#include "corda/linalg/spectrum.h"
#include "linalg/checks.h"
#include "linalg/routes.h"

namespace corda::linalg {

namespace {

// The exact route takes ranks above the size divided by this. A block of 1.5 r vectors is then a
// fifth of the matrix, so products with it are no longer little beside a dense factorisation; where
// the two routes take equally long was not measured.
constexpr std::int64_t kSizeOverRank = 8;

// Takes the fast route where it applies and proves its result, else the exact one.
template <typename Fast, typename Exact>
Spectrum fast_or_exact(std::int64_t size, std::int64_t r, const SubspaceOptions& options, Fast fast,
                       Exact exact) {
  if (options.exact || size < options.smallest_size || r > size / kSizeOverRank) return exact();
  std::string reason;
  try {
    Spectrum result = fast();
    result.vectors = fix_signs(result.vectors);
    return result;
  } catch (const Refused& refused) {
    reason = refused.reason;
  } catch (const core::NumericalError& error) {
    reason = error.what();
  }
  Spectrum result = exact();
  result.refused = reason;
  mark(options, "exact");
  return result;
}

}  // namespace

Spectrum certified_subspace(const at::Tensor& weight, DampedCovariance& covariance, std::int64_t r,
                            Which which, const SubspaceOptions& options) {
  check_layer(weight, covariance.matrix());
  const std::int64_t size = std::min(weight.size(0), weight.size(1));
  check_rank(r, size);
  check_finite("the weight", weight);
  return fast_or_exact(
      size, r, options,
      [&] {
        return which == Which::kSmallest ? smallest_by_inverse(weight, covariance, r, options)
                                         : largest_by_gram(weight, covariance, r, options);
      },
      [&] { return left_singular_subspace(weight, covariance.matrix(), r, which); });
}

Spectrum certified_generalised_top(const at::Tensor& task, DampedCovariance& knowledge,
                                   std::int64_t r, const SubspaceOptions& options) {
  check_pair(task, knowledge.matrix());
  check_rank(r, task.size(0));
  const at::Tensor task_fp64 = task.to(at::kDouble);
  mean_diagonal("the task covariance", task_fp64);
  return fast_or_exact(
      task.size(0), r, options,
      [&] { return generalised_by_cholesky(task_fp64, knowledge, r, options); },
      [&] { return generalised_top(task_fp64, knowledge.matrix(), r); });
}

Spectrum certified_eigen_top(const at::Tensor& covariance, std::int64_t r,
                             const SubspaceOptions& options) {
  check_square("the covariance", covariance);
  check_rank(r, covariance.size(0));
  const at::Tensor fp64 = covariance.to(at::kDouble);
  mean_diagonal("the covariance", fp64);
  return fast_or_exact(
      fp64.size(0), r, options, [&] { return largest_by_products(fp64, r, options); },
      [&] { return eigenvectors(fp64, r, Which::kLargest); });
}

}  // namespace corda::linalg
