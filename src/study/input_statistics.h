// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What truncation knows of a layer's input.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "corda/covariance/draw.h"
#include "corda/model/model.h"

namespace corda::study {

// The site of the output head, beside those of the blocks (model::sites_of).
inline constexpr const char* kHeadSite = "lm_head.input";

struct InputStatistics {
  at::Tensor covariance;      // [in, in] fp32, as corda calibrate has it
  at::Tensor mean_magnitude;  // [in] fp64: mean |x| over all tokens
};

// Collects the statistics of every site by running all samples through the whole model.
std::map<std::string, InputStatistics> statistics_of(const model::Model& model,
                                                     const covariance::Draw& draw,
                                                     bool scale_by_maximum, bool with_head,
                                                     core::Reporter& reporter);

}  // namespace corda::study
