// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_solver.h"

#include <ATen/ATen.h>

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

}  // namespace

bool is_dual(const DecomposeSettings& s) { return s.method == "corda" && s.mode == "dual"; }

SolvedSite SiteSolver::solve(
    const PlannedSite& site, SiteInput input,
    const std::function<at::Tensor(const std::string& module)>& weight) const {
  const linalg::SubspaceOptions options = {.exact = settings_.exact};
  std::optional<linalg::DampedCovariance> damped;
  if (!input.knowledge.empty()) {
    warn_of_few_tokens(site, input);
    damped.emplace(mix(std::exchange(input.knowledge, {})), settings_.damping);
  }
  if (is_dual(settings_)) {
    const linalg::Spectrum directions = linalg::certified_generalised_top(
        mix(std::exchange(input.task, {})), *damped, settings_.rank, options);
    return each_layer(site, input.tokens, [&](const PlannedLayer& layer) {
      return Choice{.stored = adapter::exported_factors(
                        adapter::initialise_dual(directions, layer.out_features)),
                    .directions = directions,
                    .energy = directions.values.sum().item<double>()};
    });
  }
  const auto which = settings_.mode == "kpa" ? linalg::Which::kSmallest : linalg::Which::kLargest;
  return each_layer(site, input.tokens, [&](const PlannedLayer& layer) {
    const at::Tensor w = weight(layer.module);
    const linalg::Spectrum found =
        settings_.method == "pissa"
            ? linalg::svd_top(w, settings_.rank)
            : linalg::certified_subspace(w, *damped, settings_.rank, which, options);
    return Choice{.stored = adapt(layer, w.to(at::kDouble), found),
                  .directions = found,
                  .energy = at::linalg_norm(found.values).item<double>()};
  });
}

SolvedSite SiteSolver::each_layer(
    const PlannedSite& site, std::int64_t tokens,
    const std::function<Choice(const PlannedLayer& layer)>& choose) const {
  SolvedSite solved;
  for (const auto& layer : site.layers) {
    core::throw_if_stopped(reporter_, "decomposing");
    Choice choice = choose(layer);
    SolvedLayer& result = solved[layer.module];
    result.stored = std::move(choice.stored);
    result.report = {.rank = settings_.rank,
                     .energy = choice.energy,
                     .total_energy = choice.directions.total,
                     .damping = settings_.method == "corda" ? settings_.damping : 0.0,
                     .tokens = tokens,
                     .route = choice.directions.route,
                     .bound = choice.directions.bound,
                     .refused = choice.directions.refused};
    announce(layer, result.report);
  }
  return solved;
}

void SiteSolver::announce(const PlannedLayer& layer, const adapter::LayerReport& report) const {
  reporter_.info(concat(layer.module, " [", layer.out_features, ", ", layer.in_features, "]: rank ",
                        report.rank, ", energy ", report.energy, " of ", report.total_energy,
                        ", damping ", report.damping, ", ", report.route, ", ",
                        report.bound == 1
                            ? std::string("the optimum")
                            : concat("within a factor ", report.bound, " of the optimum")));
  if (!report.refused.empty()) {
    reporter_.info(
        concat(layer.module, ": done again by the exact route, because ", report.refused));
  }
  reporter_.advance(1, layer.module);
}

adapter::Factors SiteSolver::adapt(const PlannedLayer& layer, const at::Tensor& weight,
                                   const linalg::Spectrum& found) const {
  const auto zero = adapter::vanishing_components(found, layer.out_features, layer.in_features);
  if (zero > 0) {
    reporter_.warn(concat(layer.module, ": ", zero, " of the ", settings_.rank,
                          " components have no weight (the matrix is rank-deficient); their rows "
                          "start at zero and cannot learn"));
  }
  return adapter::exported_factors(adapter::initialise_from_subspace(weight, found, scale_));
}

void SiteSolver::warn_of_few_tokens(const PlannedSite& site, const SiteInput& input) const {
  const std::int64_t width = site.layers.front().in_features;
  const auto check = [&](std::int64_t tokens, const char* what) {
    if (tokens >= width) return;
    reporter_.warn(concat(site.name, ": ", what, " saw ", tokens, " tokens, fewer than its ", width,
                          " features, so directions it never saw are told apart by the damping "
                          "alone; calibrate on more samples"));
  };
  check(input.tokens, "the covariance");
  if (is_dual(settings_)) check(input.task_tokens, "the task covariance");
}

}  // namespace corda::decompose
