// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/load_model.h"

#include <optional>

#include "corda/adapter/check_fit.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"
#include "corda/quant/model_weights.h"
#include "corda/quant/quantise.h"

namespace corda::eval {

ModelChoice choice_of(const EvalSettings& settings) {
  return {.model = settings.model,
          .assume_family = settings.assume_family,
          .adapter = settings.adapter,
          .device = settings.device,
          .dtype = settings.dtype,
          .base = settings.base};
}

model::Model load_model(const ModelChoice& choice, core::Reporter& reporter,
                        const std::function<void()>& checked, dist::World& world) {
  const at::Device device = world.device_of(choice.device);
  const at::ScalarType dtype = linalg::dtype_of(choice.dtype, device);
  const quant::ModelWeights weights = quant::open_model(choice.model, reporter);
  std::optional<adapter::Adapter> adapter;  // first: one that does not fit should not cost minutes
  if (!choice.adapter.empty())
    adapter = adapter::read_adapter_for(choice.adapter, weights, reporter);
  if (checked) checked();
  model::Model loaded =
      model::load_model(weights, model::describe_model(weights, reporter, choice.assume_family),
                        {.device = device,
                         .weights = dtype,
                         .compute = dtype,
                         .base = quant::base_named(choice.base)});
  if (adapter) model::fold_adapter(loaded, *adapter);
  return loaded;
}

}  // namespace corda::eval
