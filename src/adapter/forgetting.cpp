// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/forgetting.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/linalg/energy.h"
#include "corda/quant/feedback.h"

namespace corda::adapter {

using core::concat;

namespace {

double size_of_inputs(const at::Tensor& covariance) {
  return covariance.diagonal().sum(at::kDouble).item<double>();
}

}  // namespace

double Forgetting::gauge() const { return inputs > 0 ? std::sqrt(change / inputs) : 0; }

InputEnergy input_energy(const at::Tensor& a, const at::Tensor& covariance) {
  return {.of_a = linalg::sandwich(a, covariance), .inputs = size_of_inputs(covariance)};
}

Forgetting forgetting_of(const at::Tensor& b, double scale, const InputEnergy& energy) {
  const at::NoGradGuard no_grad;
  const at::Tensor wide = b.to(at::kDouble);
  const double sum = (at::mm(wide.t(), wide) * energy.of_a).sum().item<double>();
  // The factors are semidefinite, so the sum is below zero by rounding alone. A NaN stays one.
  return {.change = scale * scale * (sum < 0 ? 0 : sum), .inputs = energy.inputs};
}

Forgetting forgetting_of(const Factors& update, double scale, const at::Tensor& covariance) {
  return forgetting_of(update.b, scale, input_energy(update.a, covariance));
}

Forgetting forgetting_of(const at::Tensor& update, const at::Tensor& covariance) {
  const double change = linalg::energy(update, covariance);
  return {.change = change < 0 ? 0 : change, .inputs = size_of_inputs(covariance)};
}

double gauge_of(const std::vector<Forgetting>& changed, std::int64_t layers) {
  double squares = 0;
  for (const Forgetting& layer : changed) squares += layer.gauge() * layer.gauge();
  return layers > 0 ? std::sqrt(squares / static_cast<double>(layers)) : 0;
}

KnowledgeInputs::KnowledgeInputs(const std::string& directory, const std::string& fingerprint,
                                 const std::vector<std::string>& modules)
    : reader_(quant::covariance_for(directory, fingerprint)) {
  std::vector<std::string> missing;
  for (const std::string& module : modules)
    if (reader_.site_of(module).empty()) missing.push_back(module);
  if (!missing.empty()) {
    const std::string more =
        missing.size() == 1 ? ""
                            : concat(" and ", missing.size() - 1, " more of the changed layers");
    throw core::ConfigError(concat("the covariance '", directory, "' has no inputs of '",
                                   missing.front(), "'", more,
                                   "; corda calibrate collects those of all "
                                   "layers of a model's blocks"));
  }
  for (const auto& [name, site] : reader_.manifest().sites)
    for (const std::string& module : site.modules)
      ++layers_of_kind_[std::string(core::last_part(module))];
}

std::vector<std::string> KnowledgeInputs::modules() const {
  std::vector<std::string> all;
  for (const auto& [name, site] : reader_.manifest().sites)
    all.insert(all.end(), site.modules.begin(), site.modules.end());
  return all;
}

std::int64_t KnowledgeInputs::layers() const {
  std::int64_t sum = 0;
  for (const auto& [kind, count] : layers_of_kind_) sum += count;
  return sum;
}

const at::Tensor& KnowledgeInputs::of(const std::string& module, std::int64_t in_features) {
  const std::string site = reader_.site_of(module);
  const std::int64_t known = reader_.manifest().sites.at(site).in_features;
  if (known != in_features) {
    throw core::ShapeError(concat("the covariance of '", module, "' is of ", known,
                                  " inputs, and the layer has ", in_features));
  }
  if (site != loaded_) {
    covariance_ = at::Tensor();  // frees the one before, so that two are never held
    covariance_ = reader_.load(site);
    loaded_ = site;
  }
  return covariance_;
}

Gauges gauges_of(const Forgettings& changed, const KnowledgeInputs& inputs) {
  std::map<std::string, std::vector<Forgetting>> kinds;
  std::vector<Forgetting> all;
  Gauges gauges;
  for (const auto& [module, layer] : changed) {
    kinds[std::string(core::last_part(module))].push_back(layer);
    all.push_back(layer);
    gauges.layers[module] = layer.gauge();
  }
  for (const auto& [kind, layers] : kinds) {
    const std::int64_t known = inputs.layers_of_kind().at(kind);
    gauges.kinds[kind] = {.changed = static_cast<std::int64_t>(layers.size()),
                          .layers = known,
                          .gauge = gauge_of(layers, known)};
  }
  gauges.in_all = gauge_of(all, inputs.layers());
  return gauges;
}

}  // namespace corda::adapter
