// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What both kinds of calibration say of themselves.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "corda/calibrate/calibrate.h"
#include "corda/core/config_node.h"
#include "corda/io/covariance_store.h"

namespace corda::calibrate {

// Everything the result depends on: `model` and `data` are fingerprints. A work directory that was
// made with the same may be taken up, and ranks must agree about it.
core::ConfigNode made_with(CalibrateSettings settings, const std::string& model,
                           const std::string& data, at::Device device, at::ScalarType dtype);

// Writes the settings and the manifest, with which the directory appears.
void finish(const CalibrateSettings& settings, const std::string& model, std::int64_t samples,
            std::int64_t tokens, io::CovarianceWriter& writer);

}  // namespace corda::calibrate
