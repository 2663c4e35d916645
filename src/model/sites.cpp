// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/sites.h"

#include "corda/core/error.h"

namespace corda::model {

std::vector<Site> sites_of_block(const ModelDescription& model, std::int64_t layer) {
  const std::string block = model.block_name(layer);
  std::vector<Site> sites;
  for (const SiteDescription* described : model.sites()) {
    Site site{core::concat(block, ".", described->name), described->in_features, {}};
    for (const LayerDescription& layer_of_site : described->layers)
      site.modules.push_back(core::concat(block, ".", layer_of_site.name));
    sites.push_back(std::move(site));
  }
  return sites;
}

std::vector<Site> sites_of(const ModelDescription& model) {
  std::vector<Site> sites;
  for (std::int64_t layer = 0; layer < model.num_layers(); ++layer) {
    for (auto& site : sites_of_block(model, layer)) sites.push_back(std::move(site));
  }
  return sites;
}

std::vector<std::string> layers_of_blocks(const ModelDescription& model) {
  std::vector<std::string> names;
  for (const Site& site : sites_of(model))
    names.insert(names.end(), site.modules.begin(), site.modules.end());
  return names;
}

}  // namespace corda::model
