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
  AutogradPass(model::Model& model, model::Operations operations)
      : GradientPass(model), operations_(operations) {}

  void begin_step() override {}

  at::Tensor run(const data::PackedBatch& batch, double scale) override {
    const at::Tensor sum = model::loss_sum(model(), to_device(batch, model()), operations_);
    (sum * scale).backward();
    return sum.detach().to(at::kDouble);
  }

  std::string describe() const override {
    return operations_ == model::Operations::kKernels ? "autograd over kernels" : "autograd";
  }

 private:
  model::Operations operations_;
};

}  // namespace

std::unique_ptr<GradientPass> make_autograd_pass(model::Model& model,
                                                 model::Operations operations) {
  return std::make_unique<AutogradPass>(model, operations);
}

}  // namespace corda::train
