// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// AdamW over named fp32 parameters, one fused step for all.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace corda::train {

struct AdamWSettings {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
};

// Loshchilov and Hutter 2019, as torch.optim.AdamW computes it: decay decoupled, both moments
// bias-corrected. Moments are fp32 on the parameters' device.
class AdamW {
 public:
  // The tensors are leaves that require gradients; they are updated in place.
  AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const AdamWSettings& settings);

  // One step, with the gradients first scaled down to the norm `grad_clip` where theirs is larger
  // (0: never). Returns the Euclidean norm over all gradients before that, an fp32 scalar on their
  // device. Does not synchronise, so a gradient that is not finite is for the caller to find.
  at::Tensor step(double learning_rate, double grad_clip);
  void clear_gradients();
  // Throws NumericalError naming the first parameter that is not finite.
  void require_finite_parameters() const;

  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }
  // Moments and step count under "NAME.exp_avg", "NAME.exp_avg_sq" and "NAME.step".
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  std::vector<at::Tensor> gradients() const;

  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  AdamWSettings settings_;
  std::vector<at::Tensor> exp_avg_;
  std::vector<at::Tensor> exp_avg_sq_;
  std::vector<at::Tensor> steps_;
};

}  // namespace corda::train
