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

// How many layers were done again and why, what is proved of all, and which layers have components
// without weight: a warning, for these cannot learn. What ranks they have where these differ, or
// where some of the `layers` that were decomposed have none and are not among the reports.
void report_layers(const std::map<std::string, adapter::LayerReport>& reports, std::int64_t layers,
                   core::Reporter& reporter);

// Of the proved bounds the one furthest from 1.
double worst_bound(const std::map<std::string, adapter::LayerReport>& reports);

}  // namespace corda::decompose
