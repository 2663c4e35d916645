// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"

namespace corda::train {

AdamW::AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters,
             const AdamWSettings& settings, std::vector<double> rate_factors)
    : parameters_(std::move(parameters)),
      settings_(settings),
      rate_factors_(std::move(rate_factors)),
      decay_columns_(parameters_.size()) {
  rate_factors_.resize(parameters_.size(), 1);
  make_groups();
  for (const auto& [name, parameter] : parameters_) {
    exp_avg_.push_back(at::zeros_like(parameter));
    exp_avg_sq_.push_back(at::zeros_like(parameter));
    steps_.push_back(at::zeros({}, parameter.options().dtype(at::kFloat).requires_grad(false)));
  }
}

void AdamW::make_groups() {
  groups_.clear();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const double factor = rate_factors_[i];
    const bool by_columns = decay_columns_[i].defined();
    auto group = std::find_if(groups_.begin(), groups_.end(), [&](const Group& known) {
      return known.rate_factor == factor && known.by_columns == by_columns;
    });
    if (group == groups_.end()) {
      group = groups_.insert(groups_.end(),
                             {.rate_factor = factor, .by_columns = by_columns, .places = {}});
    }
    group->places.push_back(i);
  }
}

void AdamW::set_decay_columns(const std::map<std::string, at::Tensor>& columns) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto found = columns.find(parameters_[i].first);
    decay_columns_[i] = found == columns.end() ? at::Tensor() : found->second;
  }
  make_groups();
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

at::Tensor AdamW::step(double learning_rate, double grad_clip, const SumOverRanks& sum) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> grads = gradients();
  at::Tensor norm = at::stack(at::_foreach_norm(grads, 2)).norm();
  if (sum) {
    const at::Tensor square = norm.to(at::kDouble).square();
    sum(square);
    norm = square.sqrt().to(at::kFloat);
  }
  // What the gradients are divided by; the small number is torch.nn.utils.clip_grad_norm_'s.
  std::optional<at::Tensor> divisor;
  if (grad_clip > 0) divisor = ((norm + 1e-6) / grad_clip).clamp_min(1);
  at::_foreach_add_(steps_, 1);
  for (const Group& group : groups_) {
    const double rate = learning_rate * group.rate_factor;
    std::vector<at::Tensor> values, slopes, means, squares, steps;
    for (const std::size_t i : group.places) {
      if (group.by_columns) {
        parameters_[i].second.mul_(
            (1 - rate * settings_.weight_decay * decay_columns_[i]).clamp_min(0));
      }
      values.push_back(parameters_[i].second);
      slopes.push_back(grads[i]);
      means.push_back(exp_avg_[i]);
      squares.push_back(exp_avg_sq_[i]);
      steps.push_back(steps_[i]);
    }
    at::_fused_adamw_(values, slopes, means, squares, /*max_exp_avg_sqs=*/{}, steps, rate,
                      settings_.beta1, settings_.beta2,
                      group.by_columns ? 0 : settings_.weight_decay, settings_.eps,
                      /*amsgrad=*/false, /*maximize=*/false, divisor);
  }
  return norm;
}

void AdamW::clear_gradients() {
  for (const auto& [name, parameter] : parameters_) parameter.mutable_grad() = at::Tensor();
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

std::vector<double> lora_plus_factors(
    const std::vector<std::pair<std::string, at::Tensor>>& parameters, double ratio) {
  std::vector<double> factors;
  for (const auto& [name, tensor] : parameters)
    factors.push_back(name.ends_with(".lora_B") || name.ends_with(".magnitude") ? ratio : 1);
  return factors;
}

}  // namespace corda::train
