// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/gauge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/linalg/out_of_memory.h"

namespace corda::train {

namespace {

std::vector<std::string> adapted_layers(const adapter::Adapter& adapter) {
  std::vector<std::string> names;
  for (const auto& [name, layer] : adapter.layers) names.push_back(name);
  return names;
}

}  // namespace

Gauge::Gauge(const std::string& covariance, Trainable& trainable)
    : trainable_(trainable),
      inputs_(covariance, trainable.base_fingerprint(), adapted_layers(trainable.adapter())) {}

void check_decay_metric(const TrainSettings& resolved, const Trainable& trainable) {
  if (resolved.optim.decay_metric != "knowledge") return;
  const auto& layers = trainable.adapter().layers;
  if (std::ranges::any_of(layers, [](const auto& l) { return l.second.subtracts_start(); })) {
    throw core::ConfigError(
        "'optim.decay_metric: knowledge' draws B to zero, but this adapter changes nothing where "
        "it "
        "started, not at zero; use an adapter that starts at zero (mode dual, lora)");
  }
  if (resolved.train_a == "false") return;
  throw core::ConfigError(core::concat(
      "'optim.decay_metric: knowledge' is for an A that is not trained (mode dual, or train_a: "
      "false); this run ",
      resolved.method == "full" ? "has none" : "trains it"));
}

std::optional<adapter::Gauges> Gauge::read(core::Reporter& reporter) {
  const at::NoGradGuard no_grad;
  try {
    return adapter::gauges_of(read_all(), inputs_);
  } catch (const core::IoError& error) {
    reporter.warn(core::concat("the forgetting gauge could not be read (",
                               core::first_line(error.what()), "); this reading is left out"));
    return std::nullopt;
  } catch (const std::exception& error) {
    const auto out = linalg::out_of_memory(error);
    if (!out) throw;
    reporter.warn(core::concat(out->memory, " ran out while the forgetting gauge was read; this ",
                               "reading is left out (", out->detail, ")"));
    return std::nullopt;
  }
}

bool Gauge::changes(const model::Linear& linear) const {
  return trainable_.is_full() ? inputs_.knows(linear.name) : linear.low_rank.has_value();
}

adapter::Forgettings Gauge::read_all() {
  adapter::Forgettings layers;
  for (const model::Linear* linear : std::as_const(trainable_.model()).linear_layers())
    if (changes(*linear)) layers[linear->name] = read(*linear);
  return layers;
}

adapter::Forgetting Gauge::read(const model::Linear& linear) {
  const std::int64_t in_features = linear.weight.size(1);
  const auto widened = [&](const at::Tensor& x) { return x.to(linear.device(), at::kDouble); };
  if (!linear.low_rank) {
    const at::Tensor before = trainable_.base().view(linear.name + ".weight");
    return adapter::forgetting_of(widened(linear.weight) - widened(before),
                                  inputs_.of(linear.name, in_features));
  }
  const model::LowRank& now = *linear.low_rank;
  adapter::LayerAdapter layer = trainable_.adapter().layers.at(linear.name);
  layer.a = now.a.detach();
  layer.b = now.b.detach();
  for (at::Tensor* start : {&layer.a0, &layer.b0})
    if (start->defined()) *start = start->to(linear.device());
  if (now.magnitude.defined()) {
    layer.magnitude = now.magnitude.detach();
    const at::Tensor weight = model::weight_of(linear).to(at::kFloat);
    const at::Tensor after = adapter::merged_weight(weight, layer, now.scale);
    return adapter::forgetting_of(after - weight, inputs_.of(linear.name, in_features));
  }
  // Where a start is subtracted, (B - B0) A is the whole change only while A is the start's own.
  const bool is_first_a = !layer.subtracts_start() || at::equal(layer.a, layer.a0);
  if (!now.a.requires_grad() && is_first_a) return read_frozen_a(linear, layer);
  return adapter::forgetting_of(adapter::exported_factors(layer), now.scale,
                                inputs_.of(linear.name, in_features));
}

adapter::Forgetting Gauge::read_frozen_a(const model::Linear& linear,
                                         const adapter::LayerAdapter& layer) {
  return adapter::forgetting_of(layer.subtracts_start() ? layer.b - layer.b0 : layer.b,
                                linear.low_rank->scale, energy_of(linear));
}

const adapter::InputEnergy& Gauge::energy_of(const model::Linear& linear) {
  auto known = of_frozen_a_.find(linear.name);
  if (known == of_frozen_a_.end()) {
    const at::Tensor& covariance = inputs_.of(linear.name, linear.weight.size(1));
    known =
        of_frozen_a_
            .emplace(linear.name, adapter::input_energy(linear.low_rank->a.detach(), covariance))
            .first;
  }
  return known->second;
}

std::map<std::string, at::Tensor> Gauge::decay_columns() {
  std::map<std::string, at::Tensor> columns;
  for (const model::Linear* linear : std::as_const(trainable_.model()).linear_layers()) {
    if (!linear->low_rank) continue;
    const at::Tensor sizes = energy_of(*linear).of_a.diagonal();
    const at::Tensor mean = sizes.mean();
    columns[linear->name + ".lora_B"] =
        mean.item<double>() > 0 ? (sizes / mean).to(at::kFloat) : at::ones_like(sizes, at::kFloat);
  }
  return columns;
}

}  // namespace corda::train
