// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_solver.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>
#include <utility>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/linalg/spectrum.h"
#include "linalg/checks.h"

namespace corda::decompose {

using core::concat;

namespace {

// One covariance, or the mean of several that were divided by their traces, scaled back by the mean
// trace.
at::Tensor mix(std::vector<at::Tensor> covariances) {
  if (covariances.size() == 1) return covariances.front();
  at::Tensor sum;
  double traces = 0;
  for (auto& covariance : covariances) {
    at::Tensor c = std::exchange(covariance, {}).to(at::kDouble);
    const double trace = c.diagonal().sum().item<double>();
    const double smallest = c.diagonal().min().item<double>();
    const double least = linalg::least_diagonal(trace / static_cast<double>(c.size(0)));
    if (!(trace > 0) || smallest < least) {  // the sum would hide it
      throw core::NumericalError(concat("a covariance cannot be mixed: its trace is ", trace,
                                        ", the smallest number of its diagonal ", smallest));
    }
    traces += trace;
    sum = sum.defined() ? sum.add_(c.div_(trace)) : c.div_(trace);
  }
  const auto count = static_cast<double>(covariances.size());
  return sum.mul_(traces / (count * count));
}

// Puts a name in front of the NumericalErrors of `work`.
template <typename Work>
auto named(const std::string& name, Work work) {
  try {
    return work();
  } catch (const core::NumericalError& error) {
    throw core::NumericalError(concat(name, ": ", error.what()));
  }
}

}  // namespace

bool is_dual(const DecomposeSettings& s) { return s.method == "corda" && s.mode == "dual"; }

SolvedSite SiteSolver::solve(
    const PlannedSite& site, SiteInput input,
    const std::function<at::Tensor(const std::string& module)>& weight) const {
  const linalg::SubspaceOptions options = {.exact = settings_.exact};
  std::optional<linalg::DampedCovariance> damped;
  std::optional<linalg::Spectrum> shared;  // dual: of the site's layers
  named(site.name, [&] {
    if (!input.knowledge.empty())
      damped.emplace(mix(std::exchange(input.knowledge, {})), settings_.damping);
    if (is_dual(settings_)) {
      shared = linalg::certified_generalised_top(mix(std::exchange(input.task, {})), *damped,
                                                 settings_.rank, options);
    }
  });
  if (shared) {
    return each_layer(site, input.tokens, [&](const PlannedLayer& layer) {
      return Choice{.stored = adapter::exported_factors(
                        adapter::initialise_dual(*shared, layer.out_features)),
                    .directions = *shared,
                    .energy = shared->values.sum().item<double>()};
    });
  }
  const auto which = settings_.mode == "kpa" ? linalg::Which::kSmallest : linalg::Which::kLargest;
  return each_layer(site, input.tokens, [&](const PlannedLayer& layer) {
    const at::Tensor w = weight(layer.module);
    const linalg::Spectrum found =
        settings_.method == "pissa"
            ? linalg::svd_top(w, settings_.rank)
            : linalg::certified_subspace(w, *damped, settings_.rank, which, options);
    return Choice{.stored = adapter::exported_factors(
                      adapter::initialise_from_subspace(w.to(at::kDouble), found, scale_)),
                  .directions = found,
                  .energy = at::linalg_norm(found.values).item<double>(),
                  .without_weight =
                      adapter::vanishing_components(found, layer.out_features, layer.in_features)};
  });
}

SolvedSite SiteSolver::each_layer(
    const PlannedSite& site, std::int64_t tokens,
    const std::function<Choice(const PlannedLayer& layer)>& choose) const {
  SolvedSite solved;
  for (const auto& layer : site.layers) {
    core::throw_if_stopped(reporter_, "decomposing");
    named(layer.module, [&] {
      Choice choice = choose(layer);
      check_finite(choice);
      SolvedLayer& result = solved[layer.module];
      result.stored = std::move(choice.stored);
      result.report = {.rank = settings_.rank,
                       .energy = choice.energy,
                       .total_energy = choice.directions.total,
                       .damping = settings_.method == "corda" ? settings_.damping : 0.0,
                       .tokens = tokens,
                       .route = choice.directions.route,
                       .bound = choice.directions.bound,
                       .refused = choice.directions.refused,
                       .without_weight = choice.without_weight};
    });
    reporter_.advance(1, layer.module);
  }
  return solved;
}

void SiteSolver::check_finite(const Choice& choice) {
  const bool factors = choice.stored.a.isfinite().all().item<bool>() &&
                       choice.stored.b.isfinite().all().item<bool>();
  if (factors && std::isfinite(choice.energy)) return;
  throw core::NumericalError(concat("the adapter's factors are beyond fp32, the energy being ",
                                    choice.energy, " of ", choice.directions.total,
                                    "; check the scale of the weight and the covariance"));
}

}  // namespace corda::decompose
