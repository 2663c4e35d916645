// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_solver.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "corda/core/error.h"
#include "decompose/mode_of.h"
#include "decompose/ranks.h"

namespace corda::decompose {

using core::concat;

namespace {

// Puts a name in front of the NumericalErrors of `work`.
template <typename Work>
auto named(const std::string& name, Work work) {
  try {
    return work();
  } catch (const core::NumericalError& error) {
    throw core::NumericalError(concat(name, ": ", error.what()));
  }
}

std::vector<double> on_host(const at::Tensor& values) {
  const at::Tensor host = values.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

// Throws where fp32 cannot hold the factors.
void check_finite(const LayerStart& start, double energy) {
  const bool factors =
      start.stored.a.isfinite().all().item<bool>() && start.stored.b.isfinite().all().item<bool>();
  if (factors && std::isfinite(energy)) return;
  throw core::NumericalError(concat("the adapter's factors are beyond fp32, the energy being ",
                                    energy, " of ", start.directions.total,
                                    "; check the scale of the weight and the covariance"));
}

}  // namespace

SiteSolver::SiteSolver(const DecomposeSettings& settings, double scale, core::Reporter& reporter)
    : settings_(settings), mode_(mode_of(settings)), scale_(scale), reporter_(reporter) {}

SolvedSite SiteSolver::solve(
    const PlannedSite& site, SiteInput input,
    const std::function<at::Tensor(const std::string& module)>& weight) const {
  SiteWork work{.settings = settings_, .scale = scale_, .input = std::move(input)};
  for (const auto& layer : site.layers)
    work.components = std::max(work.components, components_of(settings_, layer));
  if (mode_.prepare != nullptr) named(site.name, [&] { mode_.prepare(work); });
  SolvedSite solved;
  for (const auto& layer : site.layers) {
    core::throw_if_stopped(reporter_, "decomposing");
    solved[layer.module] = named(layer.module, [&] {
      return solve_layer(work, {.weight = mode_.reads_weight ? weight(layer.module) : at::Tensor(),
                                .out_features = layer.out_features,
                                .in_features = layer.in_features,
                                .components = components_of(settings_, layer)});
    });
    reporter_.advance(1, layer.module);
  }
  return solved;
}

SolvedLayer SiteSolver::solve_layer(const SiteWork& work, const LayerSite& layer) const {
  LayerStart start = mode_.start(work, layer);
  const std::vector<double> values = on_host(start.directions.values);
  const double energy = energy_of(values, layer.components, mode_.has_singular_values);
  check_finite(start, energy);
  SolvedLayer result;
  result.stored = std::move(start.stored);
  result.note.report = {.rank = layer.components,
                        .energy = energy,
                        .total_energy = start.directions.total,
                        .damping = work.damped.empty() ? 0 : settings_.damping,
                        .tokens = work.input.tokens,
                        .route = start.directions.route,
                        .bound = start.directions.bound,
                        .refused = start.directions.refused,
                        .without_weight = start.without_weight,
                        .compactness = start.compactness,
                        .covariance = start.covariance};
  if (ranks_of(settings_) == "equal") return result;
  result.note.values = values;
  result.note.sum_of_values = start.sum_of_values;
  return result;
}

}  // namespace corda::decompose
