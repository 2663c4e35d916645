// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// AdamW over named fp32 parameters, one fused step for all.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
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

// Where each of several ranks has a part of what is trained: sums the squared norm of their
// gradients, an fp64 scalar on their device, over the ranks in place.
using SumOverRanks = std::function<void(const at::Tensor& square)>;

// Loshchilov and Hutter 2019, as torch.optim.AdamW computes it: decay decoupled, both moments
// bias-corrected. Moments are fp32 on the parameters' device.
class AdamW {
 public:
  // The tensors are leaves that require gradients; they are updated in place. `rate_factors`: what
  // each one's rate is multiplied by, and with it what decays; none: 1 for all.
  AdamW(std::vector<std::pair<std::string, at::Tensor>> parameters, const AdamWSettings& settings,
        std::vector<double> rate_factors = {});

  // From now on the decay of these parameters [rows, columns], by their names, is multiplied column
  // by column with [columns] fp32 on their device; a column is pulled to zero at most.
  void set_decay_columns(const std::map<std::string, at::Tensor>& columns);

  // One step, with the gradients first scaled down to the norm `grad_clip` where theirs is larger
  // (0: never). Returns the Euclidean norm over all gradients before that, an fp32 scalar on their
  // device. Does not synchronise, so a gradient that is not finite is for the caller to find.
  at::Tensor step(double learning_rate, double grad_clip, const SumOverRanks& sum = {});
  void clear_gradients();

  const std::vector<std::pair<std::string, at::Tensor>>& parameters() const { return parameters_; }
  // Moments and step count under "NAME.exp_avg", "NAME.exp_avg_sq" and "NAME.step".
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  std::vector<at::Tensor> gradients() const;

  // Parameters of one rate and kind of decay, by their places.
  struct Group {
    double rate_factor = 1;
    bool by_columns = false;
    std::vector<std::size_t> places;
  };
  void make_groups();

  std::vector<std::pair<std::string, at::Tensor>> parameters_;
  AdamWSettings settings_;
  std::vector<double> rate_factors_;
  std::vector<at::Tensor> decay_columns_;  // of each parameter; undefined: it decays as one
  std::vector<Group> groups_;
  std::vector<at::Tensor> exp_avg_;
  std::vector<at::Tensor> exp_avg_sq_;
  std::vector<at::Tensor> steps_;
};

// The factors of LoRA+ (Hayou et al. 2024), in the groups of PEFT's create_loraplus_optimizer: B
// and a DoRA's magnitude have `ratio` times the rate of A. By the names of Trainable::parameters.
std::vector<double> lora_plus_factors(
    const std::vector<std::pair<std::string, at::Tensor>>& parameters, double ratio);

}  // namespace corda::train
