// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Shows that a merged model computes what base and adapter compute together.
#pragma once

#include <cstdint>
#include <string>

#include "corda/core/reporter.h"

namespace corda::eval {

struct VerifySettings {
  std::string model;
  std::string adapter;
  std::string merged;
  std::string device = "auto";
};

struct VerifyResult {
  double relative_difference = 0;  // max |a - b| / max |a| over all logits
  std::int64_t tokens = 0;
};

// Runs both in fp32 on the same pseudo-random tokens, the adapter unfolded beside the base's
// weights as PEFT runs it. Throws NumericalError where the logits differ by more than the rounding
// of the merged weights explains: 1e-4 of the largest logit for fp32 weights, 5e-3 for fp16 and
// 4e-2 for bf16.
VerifyResult verify_merge(const VerifySettings& settings, core::Reporter& reporter);

}  // namespace corda::eval
