// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The learning rate over a run.
#pragma once

#include <cstdint>
#include <string>

namespace corda::train {

// Rate of step `step` (from 0) of `total`: rises linearly from 0 over the first `warmup` steps,
// then stays ("constant"), falls linearly to 0 ("linear") or along half a cosine to 0 ("cosine").
// Clamped: it never rises again past the end. The horizon of the fall excludes the warm-up.
double learning_rate(const std::string& schedule, double peak, std::int64_t step,
                     std::int64_t warmup, std::int64_t total);

// The sum of the rates of all `total` steps.
double rate_sum(const std::string& schedule, double peak, std::int64_t warmup, std::int64_t total);

}  // namespace corda::train
