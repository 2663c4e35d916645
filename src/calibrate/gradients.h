// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Calibration with `of: gradients`.
#pragma once

#include "calibrate/job.h"
#include "corda/core/reporter.h"
#include "corda/dist/world.h"

namespace corda::calibrate {

// Throws ConfigError for settings that only covariances of inputs look at.
void refuse_settings_of_inputs(CalibrateSettings settings);

// Every rank takes some of the batches, and rank 0 writes. Throws ResourceError where the model and
// its gradients have no room. Time and memory are left to the caller.
CalibrateResult calibrate_gradients(const Job& job, core::Reporter& reporter, dist::World& world);

}  // namespace corda::calibrate
