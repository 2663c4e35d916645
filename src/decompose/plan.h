// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which layers are decomposed, grouped by the input they share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapter/check_rank.h"
#include "corda/io/covariance_store.h"
#include "corda/model/sites.h"

namespace corda::decompose {

using PlannedLayer = adapter::LayerSize;

struct PlannedSite {
  std::string name;  // as in the covariance directories; "" for a layer that needs none
  std::vector<PlannedLayer> layers;
};

// The layers of the model's blocks whose last name part is in `targets`, in their order.
// With `covariances`, layers of one site stand together and every directory must agree about them.
// Throws ConfigError (a target no layer has, a rank above min(out, in), naming the layer),
// FormatError (a layer without covariance, a covariance of another width).
std::vector<PlannedSite> plan_layers(const model::ModelDescription& model,
                                     const std::vector<std::string>& targets, std::int64_t rank,
                                     const std::vector<const io::CovarianceReader*>& covariances);

// The same for covariances that are collected on the way: the sites are the model's own.
std::vector<PlannedSite> plan_layers(const model::ModelDescription& model,
                                     const std::vector<std::string>& targets, std::int64_t rank);

}  // namespace corda::decompose
