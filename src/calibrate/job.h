// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What both kinds of calibration begin with, and how they end.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "corda/calibrate/calibrate.h"
#include "corda/core/config_node.h"
#include "corda/io/covariance_store.h"
#include "corda/model/description.h"
#include "corda/quant/model_weights.h"

namespace corda::calibrate {

// A calibration whose settings are resolved and whose model is open.
struct Job {
  const CalibrateSettings& settings;
  const quant::ModelWeights& weights;
  const model::ModelDescription& config;
  std::string fingerprint;  // of the weights
  at::Device device;
  at::ScalarType dtype;  // that is computed in
};

bool is_packed(const CalibrateSettings& settings);

// Everything the result depends on; `data` is a fingerprint. A work directory that was made with
// the same may be taken up, and ranks must agree about it.
core::ConfigNode made_with(const Job& job, const std::string& data);

// Writes the settings and the manifest, with which the directory appears.
void finish(const Job& job, std::int64_t samples, std::int64_t tokens,
            io::CovarianceWriter& writer);

}  // namespace corda::calibrate
