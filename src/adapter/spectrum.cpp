// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/spectrum.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"

namespace corda::adapter {

namespace {

Factors stored_in_double(const LayerAdapter& layer) {
  const Factors factors = exported_factors(layer);
  return {factors.a.to(at::kCPU, at::kDouble), factors.b.to(at::kCPU, at::kDouble)};
}

// A product B A = q_b core q_a^T, where q_b [out, m] and q_a [in, n] have orthonormal columns and
// core is [m, n].
struct Split {
  at::Tensor q_b, core, q_a;
};

Split split(const LayerAdapter& layer, double scale) {
  const Factors factors = stored_in_double(layer);
  const auto [q_b, r_b] = at::linalg_qr(factors.b);
  const auto [q_a, r_a] = at::linalg_qr(factors.a.t());
  return {q_b, at::mm(r_b, r_a.t()).mul_(scale), q_a};
}

}  // namespace

double update_norm(const LayerAdapter& layer, double scale) {
  const Factors factors = stored_in_double(layer);
  const at::Tensor left = at::mm(factors.b.t(), factors.b);
  const at::Tensor right = at::mm(factors.a, factors.a.t());
  return std::abs(scale) * std::sqrt(std::max(0.0, (left * right).sum().item<double>()));
}

std::vector<double> update_spectrum(const LayerAdapter& layer, double scale) {
  const at::Tensor values = at::linalg_svdvals(split(layer, scale).core).contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

Compressed compress(const LayerAdapter& layer, double scale, std::int64_t rank) {
  if (layer.magnitude.defined()) {
    throw core::ConfigError(
        "a DoRA has no smaller rank, since its rows are rescaled by norms that depend on the base; "
        "merge it instead");
  }
  if (rank < 1) throw core::ConfigError(core::concat("the rank must be 1 or more; it is ", rank));
  const Split parts = split(layer, scale);
  const auto [u, s, v] = at::linalg_svd(parts.core, /*full_matrices=*/false);
  const std::int64_t kept = std::min(rank, s.numel());
  const at::Tensor roots = s.narrow(0, 0, kept).sqrt();
  const double whole = s.square().sum().item<double>();
  const double lost = s.narrow(0, kept, s.numel() - kept).square().sum().item<double>();
  Compressed result;
  result.layer.b = at::mm(parts.q_b, u.narrow(1, 0, kept) * roots).to(at::kFloat).contiguous();
  result.layer.a =
      at::mm(roots.unsqueeze(1) * v.narrow(0, 0, kept), parts.q_a.t()).to(at::kFloat).contiguous();
  result.relative_error = whole > 0 ? std::sqrt(lost / whole) : 0;
  return result;
}

}  // namespace corda::adapter
