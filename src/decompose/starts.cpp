// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/starts.h"

#include <ATen/ATen.h>

#include <cmath>
#include <utility>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/linalg/energy.h"
#include "corda/quant/quantise.h"
#include "decompose/mode_of.h"
#include "linalg/checks.h"

namespace corda::decompose {

using core::concat;
using core::NumericalError;
using linalg::DampedCovariance;
using linalg::Spectrum;
using linalg::Which;

namespace {

// Returns the one covariance, or the mean of several. For the mean each is divided by its trace, so
// that none weighs more by its scale, and the result is scaled back by the mean trace.
at::Tensor mix(std::vector<at::Tensor> covariances) {
  if (covariances.size() == 1) return covariances.front();
  at::Tensor sum;
  double traces = 0;
  for (auto& covariance : covariances) {
    at::Tensor c = std::exchange(covariance, {}).to(at::kDouble);
    const double trace = c.diagonal().sum().item<double>();
    const double smallest = c.diagonal().min().item<double>();
    const double least = linalg::least_diagonal(trace / static_cast<double>(c.size(0)));
    if (!(trace > 0) || smallest < least) {  // a broken covariance would not show in the sum
      throw NumericalError(concat("a covariance cannot be mixed: its trace is ", trace,
                                  ", the smallest number of its diagonal ", smallest));
    }
    traces += trace;
    sum = sum.defined() ? sum.add_(c.div_(trace)) : c.div_(trace);
  }
  const auto count = static_cast<double>(covariances.size());
  return sum.mul_(traces / (count * count));
}

// The mix in fp64. Throws NumericalError where it is zero or not finite.
at::Tensor mixed(std::vector<at::Tensor>& covariances, const char* what) {
  const at::Tensor result = mix(std::exchange(covariances, {})).to(at::kDouble);
  linalg::mean_diagonal(what, result);
  return result;
}

Spectrum first(Spectrum found, std::int64_t components) {
  found.vectors = found.vectors.narrow(1, 0, components);
  found.values = found.values.narrow(0, 0, components);
  return found;
}

bool wants_compactness(const DecomposeSettings& settings) {
  return settings.covariance_choice == "compact" || ranks_of(settings) == "compact";
}

// Chooses the covariance that a layer takes. Of several it is the one whose product with the weight
// is the most compact: log_compactness times the sum of the singular values, in units of the
// largest, is the least (CorDA++, equation 8).
DampedCovariance& choose(const SiteWork& site, const LayerSite& layer, LayerStart& start) {
  std::size_t chosen = 0;
  if (!wants_compactness(site.settings)) return site.damped.front();
  double least = 0;
  for (std::size_t i = 0; i < site.damped.size(); ++i) {
    DampedCovariance& damped = site.damped[i];
    const auto values = linalg::singular_values(layer.weight, damped.matrix());
    const double compactness = log_compactness(damped.range(), layer.out_features);
    const double score = compactness * values.sum / values.largest;
    if (i > 0 && !(score < least)) continue;
    chosen = i;
    least = score;
    start.compactness = compactness;
    start.sum_of_values = values.sum;
  }
  if (site.damped.size() > 1) start.covariance = static_cast<std::int64_t>(chosen);
  return site.damped[chosen];
}

LayerStart start_corda(const SiteWork& site, const LayerSite& layer, Which which) {
  LayerStart start;
  DampedCovariance& damped = choose(site, layer, start);
  start.directions =
      linalg::certified_subspace(layer.weight, damped, layer.components, which, site.options());
  start.stored = adapter::exported_factors(adapter::initialise_from_subspace(
      layer.weight.to(at::kDouble), start.directions, site.scale));
  start.without_weight =
      adapter::vanishing_components(start.directions, layer.out_features, layer.in_features);
  return start;
}

// Starts from the singular vectors of W alone.
LayerStart start_of_weight(const SiteWork& site, const LayerSite& layer, Spectrum found) {
  LayerStart start;
  start.stored = adapter::exported_factors(
      adapter::initialise_from_subspace(layer.weight.to(at::kDouble), found, site.scale));
  start.without_weight =
      adapter::vanishing_components(found, layer.out_features, layer.in_features);
  start.directions = std::move(found);
  return start;
}

// The largest left singular vectors of E L, C~ = L L^T, by the eigenvectors of the smaller of its
// Gram matrices: the values are their squares.
Spectrum largest_in_outputs(const at::Tensor& error, DampedCovariance& covariance,
                            std::int64_t components, const linalg::SubspaceOptions& options) {
  if (error.size(0) <= error.size(1)) {
    return linalg::certified_eigen_top(linalg::sandwich(error, covariance.matrix()), components,
                                       options);
  }
  const at::Tensor seen = at::mm(error, covariance.factor());
  Spectrum found = linalg::certified_eigen_top(at::mm(seen.t(), seen), components, options);
  found.vectors = at::mm(seen, found.vectors);
  const at::Tensor length = at::linalg_vector_norm(found.vectors, 2, at::IntArrayRef{0});
  found.vectors = found.vectors / at::where(length > 0, length, at::ones_like(length));
  return found;
}

}  // namespace

double log_compactness(const DampedCovariance::Range& range, std::int64_t out_features) {
  if (!(range.smallest > 0)) {
    throw NumericalError(concat("the covariance has no compactness: its smallest eigenvalue is ",
                                range.smallest, " of the mean; raise the damping"));
  }
  return std::log(std::sqrt(static_cast<double>(out_features) * range.largest) / range.smallest);
}

void prepare_damped(SiteWork& site) {
  std::vector<at::Tensor> covariances = std::exchange(site.input.knowledge, {});
  if (site.settings.covariance_choice == "mix") covariances = {mix(std::exchange(covariances, {}))};
  for (at::Tensor& covariance : covariances)
    site.damped.emplace_back(std::exchange(covariance, {}), site.settings.damping);
}

void prepare_ratio(SiteWork& site) {
  site.damped.emplace_back(mix(std::exchange(site.input.knowledge, {})), site.settings.damping);
  site.directions =
      linalg::certified_generalised_top(mix(std::exchange(site.input.task, {})),
                                        site.damped.front(), site.components, site.options());
}

void prepare_largest(SiteWork& site) {
  site.directions = linalg::certified_eigen_top(mix(std::exchange(site.input.knowledge, {})),
                                                site.components, site.options());
}

void prepare_least(SiteWork& site) {
  site.directions = linalg::eigenvectors(mixed(site.input.knowledge, "the covariance"),
                                         site.components, Which::kSmallest);
}

void prepare_both(SiteWork& site) {
  site.knowledge = mixed(site.input.knowledge, "the covariance");
  site.task = mixed(site.input.task, "the task covariance");
}

LayerStart start_kpa(const SiteWork& site, const LayerSite& layer) {
  return start_corda(site, layer, Which::kSmallest);
}

LayerStart start_ipa(const SiteWork& site, const LayerSite& layer) {
  return start_corda(site, layer, Which::kLargest);
}

LayerStart start_dual(const SiteWork& site, const LayerSite& layer) {
  LayerStart start;
  start.directions = first(*site.directions, layer.components);
  start.stored =
      adapter::exported_factors(adapter::initialise_dual(start.directions, layer.out_features));
  return start;
}

LayerStart start_eva(const SiteWork& site, const LayerSite& layer) {
  LayerStart start;
  start.directions = first(*site.directions, layer.components);
  start.stored =
      adapter::exported_factors(adapter::initialise_eva(start.directions, layer.out_features));
  return start;
}

LayerStart start_null(const SiteWork& site, const LayerSite& layer) {
  linalg::check_finite("the weight", layer.weight);
  LayerStart start;
  start.directions = first(*site.directions, layer.components);
  start.stored = adapter::exported_factors(
      adapter::initialise_null(layer.weight.to(at::kDouble), start.directions, site.scale));
  start.without_weight = (start.stored.a.abs().amax(1) == 0).sum().item<std::int64_t>();
  return start;
}

// Starts from the top eigenvectors of (1 - beta) Cov_task(y) - beta Cov_knowledge(y), where Cov(y)
// is W C W^T divided by its trace.
LayerStart start_sc(const SiteWork& site, const LayerSite& layer) {
  linalg::check_finite("the weight", layer.weight);
  const at::Tensor w = layer.weight.to(at::kDouble);
  const double beta = site.settings.beta;
  const auto energy = [&](const at::Tensor& covariance) {
    const double trace = linalg::energy(w, covariance);
    if (trace > 0) return trace;
    throw NumericalError(concat("its output has no energy (", trace, "), so it has no directions"));
  };
  const at::Tensor balance = site.task * ((1 - beta) / energy(site.task)) -
                             site.knowledge * (beta / energy(site.knowledge));
  LayerStart start;
  start.directions =
      linalg::eigenvectors(linalg::sandwich(w, balance), layer.components, Which::kLargest);
  start.directions.total = 1 - beta;  // what the task gives to all directions together
  start.stored =
      adapter::exported_factors(adapter::initialise_projected(w, start.directions, site.scale));
  return start;
}

LayerStart start_pissa(const SiteWork& site, const LayerSite& layer) {
  return start_of_weight(site, layer, linalg::svd_top(layer.weight, layer.components));
}

LayerStart start_milora(const SiteWork& site, const LayerSite& layer) {
  return start_of_weight(site, layer, linalg::svd_bottom(layer.weight, layer.components));
}

LayerStart start_mica(const SiteWork& /*site*/, const LayerSite& layer) {
  LayerStart start;
  start.directions = linalg::svd_bottom(layer.weight, layer.components);
  start.stored =
      adapter::exported_factors(adapter::initialise_mica(start.directions, layer.in_features));
  return start;
}

LayerStart start_cloq(const SiteWork& site, const LayerSite& layer) {
  linalg::check_finite("the weight", layer.weight);
  const auto codes = quant::quantise(layer.weight, {.base = quant::base_named(site.settings.base)});
  const at::Tensor error = layer.weight.to(at::kDouble) - quant::dequantised(codes).to(at::kDouble);
  LayerStart start;
  if (error.any().item<bool>()) {
    start.directions =
        largest_in_outputs(error, site.damped.front(), layer.components, site.options());
  } else {  // codes that lose nothing leave no directions
    start.directions.vectors = at::eye(layer.out_features, layer.components, error.options());
    start.directions.values = at::zeros({layer.components}, error.options());
    start.directions.route = "none";
  }
  start.stored =
      adapter::exported_factors(adapter::initialise_cloq(error, start.directions, site.scale));
  start.without_weight = (start.stored.a.abs().amax(1) == 0).sum().item<std::int64_t>();
  return start;
}

}  // namespace corda::decompose
