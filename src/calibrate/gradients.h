// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Calibration with `of: gradients`.
#pragma once

#include "corda/calibrate/calibrate.h"

namespace corda::calibrate {

// Every rank takes some of the batches, and rank 0 writes. Throws ConfigError for settings that
// only covariances of inputs look at, ResourceError where the model and its gradients have no room.
CalibrateResult calibrate_gradients(CalibrateSettings settings, core::Reporter& reporter,
                                    dist::World& world);

}  // namespace corda::calibrate
