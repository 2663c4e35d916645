// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Collects the input covariance of every adapted linear layer of a model, or what a task's gradient
// asks of its inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"
#include "corda/covariance/draw.h"
#include "corda/dist/world.h"

namespace corda::calibrate {

struct CalibrateSettings : covariance::DrawSettings {
  std::string model;                 // the base's directory
  std::string assume_family = {};    // a model_type to read the model as; "": its own
  std::string of = "inputs";         // their covariances; gradients: Gram matrices of the loss's
  std::int64_t gradient_batch = 32;  // samples that one gradient is of
  bool center = false;               // take the mean off the inputs
  std::string storage = "packed";    // packed: the lower triangle | full
  std::string device = "auto";       // linalg::device_of
  std::string out;                   // the covariance directory that is written
};

// The list behind the flags of `corda calibrate` and settings.resolved.yaml.
core::SettingsList settings_of(CalibrateSettings& settings);

struct CalibrateResult {
  std::int64_t samples = 0;
  std::int64_t tokens = 0;
  std::int64_t sites = 0;
  std::int64_t sites_skipped = 0;  // that an earlier process had finished
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;
};

// Runs the calibration samples through the model block by block (covariance/stream.h has what a
// covariance is, and what is in memory) and writes a covariance directory; a block's covariances
// are written while the next block is run. Finished sites are kept in `OUT.work` until the
// directory is complete: after a kill the same command goes on there. Blocks that are finished are
// only run forward, since saving the activations would write more than all covariances together.
// Several ranks share the samples, and rank 0 writes what one would write, but for the order of
// sums. Throws NumericalError naming a site whose covariance is not finite.
//
// Of gradients (covariance/gradients.h) the samples are those of training on the data, and the
// whole model is in memory in fp32 with its gradients; nothing is kept of what is not finished.
CalibrateResult calibrate(const CalibrateSettings& settings, core::Reporter& reporter,
                          dist::World& world = dist::alone());

}  // namespace corda::calibrate
