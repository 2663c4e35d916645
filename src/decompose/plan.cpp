// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "corda/core/error.h"
#include "corda/core/text.h"

namespace corda::decompose {

using core::concat;

namespace {

constexpr std::string_view kWeight = ".weight";

// "layers.10.x" after "layers.9.x": numbers in names compare as numbers.
bool natural_less(const std::string& a, const std::string& b) {
  const auto left = core::split(a, '.');
  const auto right = core::split(b, '.');
  return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                      [](const auto& x, const auto& y) {
                                        const auto m = core::parse_int(x);
                                        const auto n = core::parse_int(y);
                                        return m && n ? *m < *n : x < y;
                                      });
}

std::vector<PlannedLayer> select(const io::Checkpoint& model,
                                 const std::vector<std::string>& targets) {
  std::vector<PlannedLayer> layers;
  std::set<std::string> found;
  std::set<std::string> leaves;
  for (const auto& name : model.names()) {
    // Projections of decoder blocks only: embeddings and the head cannot be trained through an
    // adapter.
    const bool projection = name.starts_with("model.layers.") && name.ends_with(kWeight) &&
                            model.info(name).shape.size() == 2;
    if (!projection) continue;
    const std::string module = name.substr(0, name.size() - kWeight.size());
    const std::string leaf(core::last_part(module));
    leaves.insert(leaf);
    if (std::find(targets.begin(), targets.end(), leaf) == targets.end()) continue;
    found.insert(leaf);
    layers.push_back({module, model.info(name).shape[0], model.info(name).shape[1]});
  }
  const std::vector<std::string> known(leaves.begin(), leaves.end());
  for (const auto& target : targets) {
    if (found.contains(target)) continue;
    throw core::ConfigError(concat("no layer of '", model.directory().string(), "' is named '",
                                   target, "'", core::suggestion(target, known),
                                   "; its weights end in ", core::join(known, ", "),
                                   "; set --target-modules"));
  }
  std::sort(layers.begin(), layers.end(),
            [](const auto& a, const auto& b) { return natural_less(a.module, b.module); });
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

// Layers of one site together, in the order of their first one; `site_of` gives "" for none.
template <typename SiteOf>
std::vector<PlannedSite> group(const io::Checkpoint& model, const std::vector<std::string>& targets,
                               std::int64_t rank, SiteOf site_of) {
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

std::vector<PlannedSite> plan_layers(const io::Checkpoint& model,
                                     const std::vector<std::string>& targets, std::int64_t rank,
                                     const std::vector<const io::CovarianceReader*>& covariances) {
  return group(model, targets, rank, [&](const PlannedLayer& layer) {
    std::string site = covariances.empty() ? "" : covariances.front()->site_of(layer.module);
    for (const auto* covariance : covariances) check_covariance(layer, site, *covariance);
    return site;
  });
}

std::vector<PlannedSite> plan_layers(const io::Checkpoint& model,
                                     const std::vector<std::string>& targets, std::int64_t rank,
                                     const std::vector<model::Site>& sites) {
  std::map<std::string, std::string> site_of_module;
  for (const auto& site : sites) {
    for (const auto& module : site.modules) site_of_module[module] = site.name;
  }
  return group(model, targets, rank, [&](const PlannedLayer& layer) {
    const auto found = site_of_module.find(layer.module);
    if (found != site_of_module.end()) return found->second;
    throw core::ConfigError(concat("calibration sees no input of '", layer.module,
                                   "'; leave it out of --target-modules"));
  });
}

}  // namespace corda::decompose
