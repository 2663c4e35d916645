// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/largest_rank.h"

#include <algorithm>

namespace corda::model {

std::int64_t largest_rank(const ModelDescription& model) {
  std::int64_t narrowest = model.hidden_size;
  for (const SiteDescription* site : model.sites()) {
    for (const LayerDescription& layer : site->layers)
      narrowest = std::min({narrowest, site->in_features, layer.out_features});
  }
  return narrowest;
}

}  // namespace corda::model
