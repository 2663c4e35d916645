// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "corda/core/error.h"

namespace corda::train {

double learning_rate(const std::string& schedule, double peak, std::int64_t step,
                     std::int64_t warmup, std::int64_t total) {
  if (step < warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  const auto horizon = static_cast<double>(std::max<std::int64_t>(1, total - warmup));
  const double progress = std::clamp(static_cast<double>(step - warmup) / horizon, 0.0, 1.0);
  if (schedule == "constant") return peak;
  if (schedule == "linear") return peak * (1 - progress);
  if (schedule == "cosine") return peak * 0.5 * (1 + std::cos(std::numbers::pi * progress));
  throw core::InternalError(
      core::concat("[train::learning_rate] unknown schedule '", schedule, "'"));
}

double rate_sum(const std::string& schedule, double peak, std::int64_t warmup, std::int64_t total) {
  double sum = 0;
  for (std::int64_t step = 0; step < total; ++step)
    sum += learning_rate(schedule, peak, step, warmup, total);
  return sum;
}

}  // namespace corda::train
