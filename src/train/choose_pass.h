// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which gradient pass a run uses, from its settings, the model and the memory there is.
#pragma once

#include <memory>

#include "corda/core/reporter.h"
#include "corda/model/model.h"
#include "corda/train/settings.h"
#include "train/gradient_pass.h"

namespace corda::train {

// `tokens`: the most that one micro-batch can hold. Says what was chosen. Throws ConfigError where
// the settings ask for a pass that the model's adapters do not allow.
std::unique_ptr<GradientPass> choose_pass(const TrainSettings& settings, model::Model& model,
                                          std::int64_t tokens, core::Reporter& reporter);

}  // namespace corda::train
