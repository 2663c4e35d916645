// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/routes.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "corda/core/error.h"
#include "linalg/numbers.h"
#include "linalg/orthonormal.h"

namespace corda::linalg {

void mark(const SubspaceOptions& options, const char* phase) {
  if (options.on_phase) options.on_phase(phase);
}

namespace {

// A matrix of lower rank than the block, summed in fp32, has eigenvalues on both sides of zero
// behind the true ones. A filter that takes zero for the lower end would enlarge those below as
// much as those above. The lower end is twice the last Ritz value, which is too high.
double lower_end(const RitzPairs& pairs) { return 2 * std::min(0.0, pairs.beyond); }

}  // namespace

RitzPairs iterate(const Operator& apply, std::int64_t n, std::int64_t r, at::Device device,
                  const SubspaceOptions& options,
                  const std::function<at::Tensor(const RitzPairs&)>& allowances,
                  const std::function<bool(const RitzPairs&, const at::Tensor&)>& accept) {
  std::int64_t products = 2;
  double missing = 0;
  const auto is_number = [&] { return missing >= 0 && std::isfinite(missing); };
  const auto refusal = [&](const char* why) {
    const std::string residuals =
        is_number() ? core::concat(", residuals ", std::sqrt(missing), " times what a proof needs")
                    : "";
    return Refused{core::concat("no proof after ", products, " products with the block (", why, ")",
                                residuals)};
  };
  auto pairs = rayleigh_ritz(apply, apply(scrambled(n, block_size(n, r), /*seed=*/1, device)), r);
  for (bool first = true; pairs; first = false) {
    const at::Tensor allowance = allowances(*pairs);
    missing = shortfall(*pairs, allowance);
    mark(options, "iteration");
    if (!is_number()) throw refusal("not finite");
    const bool accepted = missing <= 1 && accept(*pairs, allowance);
    if (missing <= 1) mark(options, "proof");
    if (accepted) return *pairs;
    if (products >= options.application_limit) throw refusal("the limit");
    const auto filtered = filter(apply, *pairs, gain_for(missing), first, lower_end(*pairs));
    if (!filtered) throw refusal("the least wanted value is not positive");
    products += filtered->degree;
    pairs = rayleigh_ritz(apply, filtered->block, r);
  }
  throw refusal("a column of the block is zero or not finite");
}

at::Tensor checked_basis(const at::Tensor& z) {
  auto basis = orthonormal(z);
  if (!basis) throw Refused{"a direction found is zero or not finite"};
  return *basis;
}

double sum_of_squares(const at::Tensor& values) { return values.square().sum().item<double>(); }

}  // namespace corda::linalg
