// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/optimizer.h"

#include <ATen/ATen.h>

#include "corda/core/error.h"

namespace corda::train {

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters,
             const AdamWSettings& settings)
    : parameters_(std::move(parameters)), settings_(settings) {
  for (const auto& [name, parameter] : parameters_) {
    exp_avg_.push_back(at::zeros_like(parameter));
    exp_avg_sq_.push_back(at::zeros_like(parameter));
    steps_.push_back(at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false)));
  }
}

std::vector<at::Tensor> AdamW::gradients() const {
  std::vector<at::Tensor> result;
  result.reserve(parameters_.size());
  for (const auto& [name, parameter] : parameters_) {
    if (!parameter.grad().defined())
      throw core::InternalError(core::concat("[train::AdamW] no gradient of ", name));
    result.push_back(parameter.grad());
  }
  return result;
}

at::Tensor AdamW::step(double learning_rate, double grad_clip) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> grads = gradients();
  const at::Tensor norm = at::stack(at::_foreach_norm(grads, 2)).norm();
  // What the gradients are divided by; the small number is torch.nn.utils.clip_grad_norm_'s.
  std::optional<at::Tensor> divisor;
  if (grad_clip > 0) divisor = ((norm + 1e-6) / grad_clip).clamp_min(1);
  std::vector<at::Tensor> values;
  for (const auto& [name, parameter] : parameters_) values.push_back(parameter);
  at::_foreach_add_(steps_, 1);
  at::_fused_adamw_(values, grads, exp_avg_, exp_avg_sq_, /*max_exp_avg_sqs=*/{}, steps_,
                    learning_rate, settings_.beta1, settings_.beta2, settings_.weight_decay,
                    settings_.eps, /*amsgrad=*/false, /*maximize=*/false, divisor);
  return norm;
}

void AdamW::clear_gradients() {
  for (const auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
}

void AdamW::require_finite_parameters() const {
  for (const auto& [name, parameter] : parameters_) {
    if (!parameter.isfinite().all().item<bool>()) {
      throw core::NumericalError(core::concat("'", name,
                                              "' is not finite after the last step, training "
                                              "diverged; start again with a lower optim.lr"));
    }
  }
}

std::vector<std::pair<std::string, at::Tensor>> AdamW::state() const {
  std::vector<std::pair<std::string, at::Tensor>> result;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].first;
    result.emplace_back(name + ".exp_avg", exp_avg_[i]);
    result.emplace_back(name + ".exp_avg_sq", exp_avg_sq_[i]);
    result.emplace_back(name + ".step", steps_[i]);
  }
  return result;
}

}  // namespace corda::train
