// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/load_model.h"

#include <optional>

#include "corda/adapter/check_fit.h"
#include "corda/linalg/device.h"
#include "corda/model/adapt.h"

namespace corda::eval {

model::Model load_model(const ModelChoice& choice, core::Reporter& reporter,
                        const std::function<void()>& checked) {
  const at::Device device = linalg::device_of(choice.device);
  const at::ScalarType dtype = linalg::dtype_of(choice.dtype, device);
  const io::Checkpoint checkpoint = io::open_model(choice.model, reporter);
  std::optional<adapter::Adapter> adapter;  // first: one that does not fit should not cost minutes
  if (!choice.adapter.empty())
    adapter = adapter::read_adapter_for(choice.adapter, checkpoint, reporter);
  if (checked) checked();
  model::Model loaded = model::load_model(
      checkpoint, model::describe_model(checkpoint, reporter, choice.assume_family),
      {.device = device, .weights = dtype, .compute = dtype});
  if (adapter) model::fold_adapter(loaded, *adapter);
  return loaded;
}

}  // namespace corda::eval
