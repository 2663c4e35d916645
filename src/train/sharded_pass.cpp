// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/sharded_pass.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "train/device_batch.h"

namespace corda::train {

namespace {

// One batch on its way through the model.
class Way {
 public:
  Way(const model::Model& model, ShardedParameters& parameters, const model::Batch& batch,
      model::Operations operations)
      : model_(model),
        parameters_(parameters),
        batch_(batch),
        operations_(operations),
        positions_(model::positions_of(model, batch)),
        attention_(batch, /*fused=*/operations == model::Operations::kKernels) {
    parameters_.forget();
  }

  // Through all blocks, of whose inputs those are kept that the backward starts from; gives the
  // last one's output.
  at::Tensor forward(bool keeps_inputs) {
    const std::int64_t count = model_.config.num_layers();
    at::Tensor hidden;
    {
      const at::NoGradGuard no_grad;
      parameters_.bring(layout().embedding());
      hidden = model::embed(model_, batch_.ids);
    }
    for (std::int64_t layer = 0; layer < count; ++layer) {
      if (keeps_inputs) inputs_.push_back(hidden);
      parameters_.bring(layout().block(layer));
      if (layer + 1 < count) parameters_.begin(layout().block(layer + 1));
      // With its graph, if any, let go: the same operations as when it is computed again.
      hidden = block(layer, hidden).detach();
    }
    return hidden;
  }

  // From the last block's output to the sum of the losses.
  at::Tensor loss_of(const at::Tensor& hidden) {
    bring_head();
    const model::ModelDescription& config = model_.config;
    return model::cross_entropy_sum(
        model_, model::rms_norm(hidden, model_.final_norm, config.norm_eps, config.norm),
        batch_.target_rows, batch_.target_ids, operations_);
  }

  // `hidden` as `forward` gave it. Returns the sum of the losses.
  at::Tensor backward(const at::Tensor& hidden, double scale) {
    at::Tensor gradient;
    const at::Tensor sum = head_backward(hidden, scale, gradient);
    for (std::int64_t layer = model_.config.num_layers(); layer-- > 0;)
      gradient = block_backward(layer, gradient);
    const at::NoGradGuard no_grad;
    parameters_.open_gradients(layout().embedding());
    add_embedding_gradient(model_, batch_.ids, gradient);
    parameters_.close_gradients(layout().embedding());
    parameters_.finish_gradients();
    return sum;
  }

 private:
  const ShardLayout& layout() const { return parameters_.layout(); }

  void bring_head() {
    parameters_.bring(layout().end());
    if (model_.config.tied) parameters_.bring(layout().embedding());
  }

  at::Tensor block(std::int64_t layer, const at::Tensor& hidden) {
    return model::forward_block(model_, layer, hidden, positions_, attention_, {}, operations_);
  }

  at::Tensor head_backward(const at::Tensor& hidden, double scale, at::Tensor& gradient) {
    bring_head();
    parameters_.open_gradients(layout().end());
    if (model_.config.tied) parameters_.open_gradients(layout().embedding());
    const at::Tensor last = hidden.detach().requires_grad_();
    const at::Tensor sum = loss_of(last);
    (sum * scale).backward();
    gradient = last.grad();
    parameters_.close_gradients(layout().end());
    if (model_.config.tied) parameters_.close_gradients(layout().embedding());
    return sum.detach().to(at::kDouble);
  }

  // From the gradient of the block's output to that of its input.
  at::Tensor block_backward(std::int64_t layer, const at::Tensor& gradient) {
    const std::size_t part = layout().block(layer);
    parameters_.bring(part);
    if (layer > 0) parameters_.begin(layout().block(layer - 1));
    parameters_.open_gradients(part);
    at::Tensor& input = inputs_[static_cast<std::size_t>(layer)];
    const at::Tensor in = std::exchange(input, {}).detach().requires_grad_();
    torch::autograd::backward({block(layer, in)}, {gradient});
    parameters_.close_gradients(part);
    return in.grad();
  }

  const model::Model& model_;
  ShardedParameters& parameters_;
  const model::Batch& batch_;
  model::Operations operations_;
  model::Positions positions_;
  model::PackedAttention attention_;
  std::vector<at::Tensor> inputs_;
};

class ShardedPass final : public GradientPass {
 public:
  ShardedPass(model::Model& model, ShardedParameters& parameters, model::Operations operations)
      : GradientPass(model), parameters_(parameters), operations_(operations) {}

  void begin_step() override { parameters_.clear_gradients(); }
  void run_nothing() override {}

  at::Tensor run(const data::PackedBatch& batch, double scale, const BlockDone& /*done*/) override {
    const model::Batch rows = to_device(batch, model());
    Way way(model(), parameters_, rows, operations_);
    return way.backward(way.forward(/*keeps_inputs=*/true), scale);
  }

  std::string describe() const override {
    return core::concat(
        operations_ == model::Operations::kKernels ? "autograd over kernels" : "autograd",
        ", every block gathered from ", parameters_.layout().ranks, " ranks and recomputed");
  }

 private:
  ShardedParameters& parameters_;
  model::Operations operations_;
};

}  // namespace

std::unique_ptr<GradientPass> make_sharded_pass(model::Model& model, ShardedParameters& parameters,
                                                model::Operations operations) {
  return std::make_unique<ShardedPass>(model, parameters, operations);
}

at::Tensor sharded_loss_sum(const model::Model& model, ShardedParameters& parameters,
                            const model::Batch& batch) {
  const at::NoGradGuard no_grad;
  Way way(model, parameters, batch, model::Operations::kAten);
  return way.loss_of(way.forward(/*keeps_inputs=*/false));
}

}  // namespace corda::train
