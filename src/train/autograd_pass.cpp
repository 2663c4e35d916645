// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include "corda/model/forward.h"
#include "train/device_batch.h"
#include "train/gradient_pass.h"

namespace corda::train {

namespace {

class AutogradPass final : public GradientPass {
 public:
  explicit AutogradPass(model::Model& model) : GradientPass(model) {}

  void begin_step() override {}

  at::Tensor run(const data::PackedBatch& batch, double scale) override {
    const at::Tensor sum = model::loss_sum(model(), to_device(batch, model()));
    (sum * scale).backward();
    return sum.detach().to(at::kDouble);
  }

  std::string describe() const override { return "autograd"; }
};

}  // namespace

std::unique_ptr<GradientPass> make_autograd_pass(model::Model& model) {
  return std::make_unique<AutogradPass>(model);
}

}  // namespace corda::train
