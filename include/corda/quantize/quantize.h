// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Writes a model in 4 or 8 bits, as other programs load it.
#pragma once

#include <cstdint>
#include <string>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::quantize {

struct QuantizeSettings {
  std::string model;  // the directory of the model
  std::string out;    // the directory that is written
  std::string to;     // nf4 | fp8
  // fp8: what a scale is for. block: a tile of 128 x 128; channel: a row; auto: block where every
  // side of every layer is a multiple of 128, else channel, for programs read whole tiles alone.
  std::string scales = "auto";
  std::string covariance = {};  // directory of `corda calibrate`, for error feedback; "": none
  double damping = 0.01;        // quant::round_with_feedback
  std::int64_t threads = 0;     // of the CPU; 0: all
};

// The list behind the flags of `corda quantize` and settings.resolved.yaml.
core::SettingsList settings_of(QuantizeSettings& settings);

struct QuantizeResult {
  std::int64_t layers = 0;
  std::int64_t shards = 0;
  std::int64_t bytes = 0;
  double seconds = 0;
  // Figures where a covariance was given: the mean over layers of quant::output_error, and what
  // rounding to nearest would have had.
  double output_error = 0;
  double plain_error = 0;
};

// Every linear layer of the blocks goes into codes (quant::write_quantised); the head, the
// embedding and all else keep their bytes, and the directory appears when it is complete. Throws
// ConfigError where the covariance is of another model or has not every layer, and for scales of
// nf4.
QuantizeResult quantize(const QuantizeSettings& settings, core::Reporter& reporter);

}  // namespace corda::quantize
