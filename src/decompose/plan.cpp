// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/plan.h"

#include <map>
#include <set>
#include <utility>

#include "adapter/target_modules.h"
#include "corda/core/error.h"

namespace corda::decompose {

using core::concat;

namespace {

// The layers of the decoder blocks that the targets name; the head and the embedding are none.
std::vector<PlannedLayer> select(const model::ModelDescription& model,
                                 const std::vector<std::string>& targets) {
  const auto chosen =
      adapter::select_targets("--target-modules", targets, model::layers_of_blocks(model));
  const std::set<std::string> names(chosen.begin(), chosen.end());
  std::vector<PlannedLayer> layers;
  for (std::int64_t block = 0; block < model.num_layers(); ++block) {
    for (const model::SiteDescription* site : model.sites()) {
      for (const model::LayerDescription& layer : site->layers) {
        std::string name = concat(model.block_name(block), ".", layer.name);
        if (names.contains(name))
          layers.push_back({std::move(name), layer.out_features, site->in_features});
      }
    }
  }
  return layers;
}

void check_covariance(const PlannedLayer& layer, const std::string& site,
                      const io::CovarianceReader& covariance) {
  const std::string directory = covariance.directory().string();
  const std::string here = covariance.site_of(layer.module);
  if (here.empty()) {
    throw core::FormatError(concat("'", directory, "' has no covariance of '", layer.module,
                                   "'; leave it out of --target-modules or calibrate again"));
  }
  if (here != site) {
    throw core::FormatError(concat("'", directory, "' puts '", layer.module, "' at the site '",
                                   here, "', another covariance at '", site,
                                   "'; calibrate both in the same way"));
  }
  const std::int64_t width = covariance.manifest().sites.at(here).in_features;
  if (width != layer.in_features) {
    throw core::FormatError(concat("'", directory, "': the covariance of '", layer.module, "' has ",
                                   width, " input features, its weight is [", layer.out_features,
                                   ", ", layer.in_features, "]"));
  }
}

// Puts layers of one site together, in the order of each site's first layer. `site_of` gives "" for
// a layer that has no site.
template <typename SiteOf>
std::vector<PlannedSite> group(const model::ModelDescription& model,
                               const std::vector<std::string>& targets, std::int64_t rank,
                               SiteOf site_of) {
  std::vector<PlannedSite> sites;
  std::map<std::string, std::size_t> index;
  const std::vector<PlannedLayer> layers = select(model, targets);
  adapter::check_rank(rank, layers, "--rank", "--target-modules");
  for (const auto& layer : layers) {
    const std::string site = site_of(layer);
    if (site.empty()) {
      sites.push_back({"", {layer}});
    } else if (const auto [found, is_new] = index.emplace(site, sites.size()); is_new) {
      sites.push_back({site, {layer}});
    } else {
      sites[found->second].layers.push_back(layer);
    }
  }
  return sites;
}

}  // namespace

std::vector<PlannedSite> plan_layers(const model::ModelDescription& model,
                                     const std::vector<std::string>& targets, std::int64_t rank,
                                     const std::vector<const io::CovarianceReader*>& covariances) {
  return group(model, targets, rank, [&](const PlannedLayer& layer) {
    std::string site = covariances.empty() ? "" : covariances.front()->site_of(layer.module);
    for (const auto* covariance : covariances) check_covariance(layer, site, *covariance);
    return site;
  });
}

std::vector<PlannedSite> plan_layers(const model::ModelDescription& model,
                                     const std::vector<std::string>& targets, std::int64_t rank) {
  std::map<std::string, std::string> site_of_module;
  for (const auto& site : model::sites_of(model)) {
    for (const auto& module : site.modules) site_of_module[module] = site.name;
  }
  return group(model, targets, rank,
               [&](const PlannedLayer& layer) { return site_of_module.at(layer.module); });
}

}  // namespace corda::decompose
