// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include <algorithm>
#include <optional>

#include "corda/core/text.h"
#include "corda/quant/model_weights.h"
#include "inspect/facts.h"

namespace corda::inspect {

using adapter::KnowledgeInputs;
using core::concat;
using core::Json;

namespace {

// Layers of one site one after the other.
std::vector<std::string> by_site(std::vector<std::string> modules, const KnowledgeInputs& inputs) {
  std::stable_sort(modules.begin(), modules.end(), [&](const auto& a, const auto& b) {
    return inputs.site_of(a) < inputs.site_of(b);
  });
  return modules;
}

at::Tensor in_fp32(const quant::ModelWeights& weights, const std::string& module) {
  const std::string name = module + ".weight";
  if (weights.contains(name)) return weights.view(name).to(at::kFloat);
  throw core::FormatError(
      concat("the model '", weights.files().directory().string(), "' has no layer '", module, "'"));
}

}  // namespace

Forgettings forgetting_of_adapter(const InspectSettings& settings,
                                  const adapter::AdapterReader& reader, KnowledgeInputs& inputs,
                                  core::Reporter& reporter) {
  std::optional<quant::ModelWeights> base;
  if (!settings.model.empty()) base.emplace(quant::open_model(settings.model, reporter));
  Forgettings result;
  reporter.begin("forgetting", static_cast<std::int64_t>(reader.modules().size()), "layer");
  for (const std::string& module : by_site(reader.modules(), inputs)) {
    core::throw_if_stopped(reporter, "reading the forgetting gauge");
    const adapter::LayerAdapter layer = reader.layer(module);
    const double scale = reader.header().scale_of(layer);
    const at::Tensor& covariance = inputs.of(module, reader.weight_shape(module)[1]);
    if (!layer.magnitude.defined()) {
      result[module] = adapter::forgetting_of(adapter::exported_factors(layer), scale, covariance);
    } else if (base) {
      const at::Tensor weight = in_fp32(*base, module);
      result[module] =
          adapter::forgetting_of(adapter::merged_weight(weight, layer, scale) - weight, covariance);
    } else {
      throw core::ConfigError(
          "how far a DoRA is from its base depends on the base's rows; name it with --model");
    }
    reporter.advance(1, module);
  }
  reporter.end();
  return result;
}

Forgettings forgetting_of_model(const InspectSettings& settings, KnowledgeInputs& inputs,
                                core::Reporter& reporter) {
  const quant::ModelWeights base = quant::open_model(settings.model, reporter);
  const quant::ModelWeights trained = quant::open_model(settings.path, reporter);
  Forgettings result;
  reporter.begin("forgetting", inputs.layers(), "layer");
  for (const std::string& module : inputs.modules()) {
    core::throw_if_stopped(reporter, "reading the forgetting gauge");
    const at::Tensor before = in_fp32(base, module);
    const at::Tensor after = in_fp32(trained, module);
    if (after.sizes() != before.sizes()) {
      throw core::ShapeError(
          concat("'", module, "' is ", after.sizes(), ", and in the base ", before.sizes()));
    }
    result[module] = adapter::forgetting_of(after - before, inputs.of(module, before.size(1)));
    reporter.advance(1, module);
  }
  reporter.end();
  return result;
}

Json forgetting_facts(const KnowledgeInputs& inputs, const Forgettings& found) {
  const adapter::Gauges gauges = adapter::gauges_of(found, inputs);
  Json rows = Json::array();
  for (const auto& [kind, facts] : gauges.kinds) {
    rows.push_back({{"kind", kind},
                    {"changed", facts.changed},
                    {"of", facts.layers},
                    {"forgetting", facts.gauge}});
  }
  return {{"in_all", gauges.in_all},
          {"changed_layers", found.size()},
          {"of", inputs.layers()},
          {"kinds", std::move(rows)}};
}

}  // namespace corda::inspect
