// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// EVA: the largest eigenvectors of one covariance.
#include <ATen/ATen.h>

#include <string>

#include "linalg/certificate.h"
#include "linalg/routes.h"

namespace corda::linalg {

namespace {

// As for dual, the proof may add half of what the bound allows; the other half is a reserve for
// rounding.
constexpr double kAllowed = 0.5 * (1 - kGeneralisedBound);

}  // namespace

Spectrum largest_by_products(const at::Tensor& covariance, std::int64_t r,
                             const SubspaceOptions& options) {
  double most = 0;
  const RitzPairs pairs = iterate(
      Operator(covariance), covariance.size(0), r, covariance.device(), options,
      [&](const RitzPairs& found) {
        return at::full({r}, kAllowed * found.sum / static_cast<double>(r), found.values.options());
      },
      [&](const RitzPairs& found, const at::Tensor& allowance) {
        const at::Tensor values = found.top_values() + allowance;
        most = values.sum().item<double>();
        return dominates(covariance, found.top_vectors(), values, values[r - 1].item<double>());
      });
  Spectrum result;
  result.route = "eigen-chebyshev";
  result.values = pairs.top_values();
  result.vectors = pairs.top_vectors();
  result.total = covariance.diagonal().sum().item<double>();
  result.bound = result.values.sum().item<double>() / most;
  mark(options, "settle");
  if (const std::string why = unproved(result, kGeneralisedBound, 1); !why.empty())
    throw Refused{why};
  return result;
}

}  // namespace corda::linalg
