// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/load_model.h"

#include <optional>

#include "corda/adapter/check_fit.h"
#include "corda/core/error.h"
#include "corda/linalg/device.h"
#include "corda/linalg/require_memory.h"
#include "corda/model/adapt.h"
#include "corda/model/bytes_to_load.h"
#include "corda/quant/model_weights.h"
#include "corda/quant/quantise.h"

namespace corda::eval {

namespace {

// What makes a model smaller, or the room larger.
std::string memory_advice(const ModelChoice& choice, const model::LoadOptions& options) {
  std::string advice;
  if (options.weights == at::kFloat && !quant::makes_codes(options.base))
    advice = "give --dtype bf16, or ";
  if (choice.offers_base && options.base != quant::Base::kNf4) advice += "give --base nf4, or ";
  return advice + "use a device with more free memory (--device)";
}

}  // namespace

ModelChoice choice_of(const EvalSettings& settings) {
  return {.model = settings.model,
          .assume_family = settings.assume_family,
          .adapter = settings.adapter,
          .device = settings.device,
          .dtype = settings.dtype,
          .base = settings.base,
          .offers_base = true};
}

model::Model load_model(const ModelChoice& given, core::Reporter& reporter,
                        const std::function<void()>& checked, dist::World& world) {
  ModelChoice choice = given;
  const at::Device device = world.device_of(choice.device);
  const at::ScalarType dtype = linalg::dtype_of(choice.dtype, device);
  const quant::ModelWeights weights = quant::open_model(choice.model, reporter);
  std::optional<adapter::Adapter> adapter;  // first: one that does not fit should not cost minutes
  if (!choice.adapter.empty())
    adapter = adapter::read_adapter_for(choice.adapter, weights, reporter);
  if (adapter && adapter->corrects_base && choice.base == "auto") {
    choice.base = adapter->base_format;
    reporter.info(
        core::concat("the base is held in ", choice.base, ", whose loss the adapter makes good"));
  }
  if (adapter) adapter::check_held(*adapter, choice.base, "give --base ");
  if (checked) checked();
  const auto described = model::describe_model(weights, reporter, choice.assume_family);
  const model::LoadOptions options{
      .device = device, .weights = dtype, .compute = dtype, .base = quant::base_named(choice.base)};
  linalg::require_memory(
      device,
      core::concat("the model '", choice.model, "' with weights in ",
                   quant::makes_codes(options.base) ? choice.base : linalg::name_of(dtype)),
      model::bytes_to_load(weights, described, options), memory_advice(choice, options));
  model::Model loaded = model::load_model(weights, described, options);
  if (adapter) model::fold_adapter(loaded, *adapter);
  return loaded;
}

}  // namespace corda::eval
