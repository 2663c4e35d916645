// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Collects the input covariance of every adapted linear layer of a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/core/settings.h"

namespace corda::calibrate {

struct CalibrateSettings {
  std::string model;
  std::vector<std::string> data;
  std::string format = "auto";
  std::string columns;
  std::string template_name = "auto";
  std::string system;
  bool skip_bad = false;
  std::string qa_text = "question-answer";  // question-answer | question
  std::int64_t samples = 256;
  std::int64_t seq_len = 2048;
  std::int64_t seed = 233;
  std::int64_t batch_tokens = 8192;
  std::string activation_scaling = "reference";  // reference | none
  std::string storage = "packed";                // packed | full
  std::string device = "auto";
  std::string dtype = "auto";
  std::int64_t threads = 0;
  std::string out;
};

core::SettingsList settings_of(CalibrateSettings& settings);

struct CalibrateResult {
  std::int64_t samples = 0;
  std::int64_t tokens = 0;
  std::int64_t sites = 0;
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;
};

// Runs the calibration samples through the model and writes a covariance directory. Per site C [in,
// in] fp32, symmetric: with scaling `reference` C = 1/N sum_n X_n^T X_n / max(X_n)^2 over the N
// samples, X_n [tokens, in] being sample n's activations and max their largest (signed) element, as
// the authors' code does (Yang et al. 2024); with `none` C = sum_t x_t x_t^T over all tokens.
// Samples are never padded. 16-bit activations are multiplied exactly and summed in fp32. All
// sites' covariances are held in the device's memory. Throws NumericalError naming a site whose
// covariance is not finite.
CalibrateResult calibrate(const CalibrateSettings& settings, core::Reporter& reporter);

}  // namespace corda::calibrate
