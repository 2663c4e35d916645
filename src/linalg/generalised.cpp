// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Dual: the largest generalised eigenvectors of two covariances.
#include <ATen/ATen.h>

#include <string>

#include "linalg/certificate.h"
#include "linalg/routes.h"

namespace corda::linalg {

namespace {

// What the proof may add to the sum of eigenvalues, relative to it: half of what kGeneralisedBound
// allows. The other half is a reserve for rounding; a larger share would save iterations.
constexpr double kAllowed = 0.5 * (1 - kGeneralisedBound);

}  // namespace

Spectrum generalised_by_cholesky(const at::Tensor& task, DampedCovariance& knowledge,
                                 std::int64_t r, const SubspaceOptions& options) {
  const at::Tensor& lower = knowledge.factor();
  // L^-1 C_task L^-T, formed: two solves with as many right sides as rows cost less than two in
  // every step, which are slow whatever their number.
  const at::Tensor quotient = solve(lower, solve(lower, task).t());
  mark(options, "quotient");
  double most = 0;
  const RitzPairs pairs = iterate(
      Operator(quotient), task.size(0), r, task.device(), options,
      [&](const RitzPairs& found) {
        return at::full({r}, kAllowed * found.sum / static_cast<double>(r), found.values.options());
      },
      [&](const RitzPairs& found, const at::Tensor& allowance) {
        const at::Tensor values = found.top_values() + allowance;
        most = values.sum().item<double>();
        // The proof is made in the metric of C_know~, so that no inverse is needed.
        return dominates(task, at::mm(lower, found.top_vectors()), values,
                         values[r - 1].item<double>(), knowledge.matrix());
      });
  Spectrum result;
  result.route = "cholesky-chebyshev";
  result.values = pairs.top_values();
  result.vectors = solve_transposed(lower, pairs.top_vectors());
  result.total = quotient.diagonal().sum().item<double>();
  result.bound = result.values.sum().item<double>() / most;
  mark(options, "settle");
  if (const std::string why = unproved(result, kGeneralisedBound, 1); !why.empty())
    throw Refused{why};
  return result;
}

}  // namespace corda::linalg
