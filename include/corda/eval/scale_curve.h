// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What shrinking a trained change, or growing it, does to losses, without writing a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/eval/verify_merge.h"

namespace corda::eval {

struct ScalePoint {
  double scale = 0;
  std::vector<double> losses;  // mean over the targets of each file, natural logarithm
};

struct ScaleCurve {
  std::vector<std::string> files;     // as they were given
  std::vector<std::int64_t> targets;  // of each
  std::vector<ScalePoint> points;     // in the order of the scales
};

// For each of `scales` the model that `corda merge --scale` would write into the base (adapter::
// merged_weight with that strength, rounded as the base is stored), run in fp32 one block at a time
// over the first `settings.samples` samples of every file of `settings.data`; `settings.merged` is
// not looked at. Throws as adapter::check_fit, ConfigError for data without a target,
// NumericalError for a loss that is not finite.
ScaleCurve scale_curve(const VerifySettings& settings, const std::vector<double>& scales,
                       core::Reporter& reporter);

}  // namespace corda::eval
