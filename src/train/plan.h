// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run will do, from its data and from what it trains.
#pragma once

#include <cstdint>

#include "corda/core/config_node.h"
#include "corda/train/train.h"
#include "train/run_data.h"
#include "train/trainable.h"

namespace corda::train {

struct StepCounts {
  std::int64_t per_epoch = 0;
  std::int64_t total = 0;
  std::int64_t warmup = 0;
};

// `samples`: of an epoch.
StepCounts step_counts(const TrainSettings& settings, std::int64_t samples);

// What AdamW is given: optim.weight_decay, or what makes optim.decay_total over these steps. Throws
// ConfigError where no step has a rate to make it with.
double weight_decay_of(const TrainSettings& settings, const StepCounts& steps);

// What a continuation must share: settings, and the content of what they name.
core::ConfigNode identity_of(const TrainSettings& resolved, const RunData& data,
                             const Trainable& trainable);

// What ranks that train together must share: more than a continuation must, since what they call
// together depends on it.
core::ConfigNode job_of(const TrainSettings& settings);
core::ConfigNode content_of(const core::ConfigNode& identity, const RunData& data);

// `resolved`: what `trainable` made of the settings. `ranks`: that train together.
TrainPlan plan_of(const TrainSettings& resolved, const RunData& data, Trainable& trainable,
                  at::Device device, int ranks = 1);

// Warns where samples are longer than the model's positions, or where the learning rate never
// reaches its peak.
void warn_of(const TrainPlan& plan, const model::ModelDescription& model, core::Reporter& reporter);

}  // namespace corda::train
