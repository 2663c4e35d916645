// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/description.h"

#include "corda/core/error.h"

namespace corda::model {

std::int64_t SiteDescription::out_features() const {
  std::int64_t sum = 0;
  for (const LayerDescription& layer : layers) sum += layer.out_features;
  return sum;
}

std::string ModelDescription::block_name(std::int64_t layer) const {
  return core::concat(prefix, "layers.", layer);
}

}  // namespace corda::model
