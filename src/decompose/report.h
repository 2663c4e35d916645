// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is said of all layers together, one line a kind; corda.json holds each layer's report.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/reporter.h"
#include "decompose/plan.h"

namespace corda::decompose {

// Warns where sites have more features than tokens that went into their covariance. `what` names
// the covariance, `advice` says how it gets more of them.
void warn_of_few_tokens(const std::vector<PlannedSite>& sites, const std::string& what,
                        const std::function<std::int64_t(const PlannedSite&)>& tokens,
                        const std::string& advice, core::Reporter& reporter);

// Says how many layers were done again and why, and what is proved of all. Warns of layers that
// have components without weight, for these cannot learn. Where ranks differ it says what they are;
// where some of the `layers` that were decomposed got none, and so have no report, how many.
void report_layers(const std::map<std::string, adapter::LayerReport>& reports, std::int64_t layers,
                   core::Reporter& reporter);

// The proved bound that is furthest from 1.
double worst_bound(const std::map<std::string, adapter::LayerReport>& reports);

}  // namespace corda::decompose
