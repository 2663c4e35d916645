// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <ATen/ATen.h>

#include "corda/kernels/embedding.h"
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

  // Autograd leaves the gradients undefined, which GradientSums takes for zeros.
  void run_nothing() override {}

  at::Tensor run(const data::PackedBatch& batch, double scale, const BlockDone& /*done*/) override {
    const model::Batch rows = to_device(batch, model());
    const bool apart =
        operations_ == model::Operations::kKernels && model().embedding.requires_grad();
    return apart ? run_embedding_apart(rows, scale)
                 : differentiate(model::loss_sum(model(), rows, operations_), scale);
  }

  std::string describe() const override {
    return operations_ == model::Operations::kKernels ? "autograd over kernels" : "autograd";
  }

 private:
  static at::Tensor differentiate(const at::Tensor& sum, double scale) {
    (sum * scale).backward();
    return sum.detach().to(at::kDouble);
  }

  // Autograd would make a dense gradient of the whole table and add it to that of a tied head;
  // here only the rows of the batch's tokens are touched.
  at::Tensor run_embedding_apart(const model::Batch& batch, double scale) {
    const at::Tensor& table = model().embedding;
    at::Tensor embedded;
    {
      const at::NoGradGuard no_grad;
      embedded = model::embed(model(), batch.ids);
    }
    embedded.requires_grad_();
    const at::Tensor sum =
        differentiate(model::loss_sum(model(), batch, embedded, operations_), scale);
    const at::NoGradGuard no_grad;
    if (!table.grad().defined()) table.mutable_grad() = at::zeros_like(table, at::kFloat);
    add_embedding_gradient(model(), batch.ids, embedded.grad());
    return sum;
  }

  model::Operations operations_;
};

}  // namespace

void add_embedding_gradient(const model::Model& model, const at::Tensor& ids,
                            const at::Tensor& rows_gradient) {
  const at::Tensor& table = model.embedding;
  const double factor = model::embedding_scale(model.config, table.scalar_type());
  kernels::embedding_backward(table.grad(), factor == 1 ? rows_gradient : rows_gradient * factor,
                              ids);
}

std::unique_ptr<GradientPass> make_autograd_pass(model::Model& model,
                                                 model::Operations operations) {
  return std::make_unique<AutogradPass>(model, operations);
}

}  // namespace corda::train
