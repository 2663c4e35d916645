// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>

#include "corda/io/covariance_store.h"
#include "inspect/facts.h"

namespace corda::inspect {

using core::concat;
using core::Json;

namespace {

std::int64_t bytes_of(const io::CovarianceSite& site) {
  const std::int64_t n = site.in_features;
  const bool packed = site.storage == io::CovarianceStorage::kPacked;
  return (packed ? n * (n + 1) / 2 : n * n) * 4;
}

// Throws where the covariance is not one of this model's layers.
void check_base(const io::CovarianceManifest& manifest, const io::Checkpoint& base) {
  for (const auto& [name, site] : manifest.sites) {
    for (const std::string& module : site.modules) {
      const std::string weight = module + ".weight";
      if (!base.contains(weight))
        throw core::FormatError(concat("the model has no layer '", module, "'"));
      const auto& shape = base.info(weight).shape;
      if (shape.size() != 2 || shape[1] != site.in_features) {
        throw core::ShapeError(concat("the covariance of '", module, "' is of ", site.in_features,
                                      " inputs, and the model's layer has ",
                                      shape.size() == 2 ? shape[1] : 0));
      }
    }
  }
  if (const std::string other = base.fingerprint(); other != manifest.model) {
    throw core::ConfigError(concat("it was collected on other weights (", manifest.model,
                                   "; the model's fingerprint is ", other, ")"));
  }
}

}  // namespace

Json covariance_facts(const InspectSettings& settings, core::Reporter& reporter) {
  const io::CovarianceReader reader(settings.path);
  const io::CovarianceManifest& manifest = reader.manifest();
  std::int64_t bytes = 0;
  std::int64_t short_of_rank = 0;
  Json sites = Json::array();
  for (const auto& [name, site] : manifest.sites) {
    bytes += bytes_of(site);
    // That of gradients does not come from tokens.
    short_of_rank += !manifest.of_gradients && site.tokens < site.in_features ? 1 : 0;
    sites.push_back({{"site", name},
                     {"in_features", site.in_features},
                     {"tokens", site.tokens},
                     {"layers", site.modules.size()}});
  }
  Json facts = {{"kind", "covariance"},
                {"path", settings.path},
                {"base", {{"name", manifest.model_name}, {"fingerprint", manifest.model}}},
                {"tokens", manifest.tokens},
                {"samples", manifest.samples},
                {"activation_scaling", manifest.activation_scaling},
                {"centered", manifest.centered},
                {"of", manifest.of_gradients ? "gradients" : "inputs"},
                {"bytes", bytes},
                {"fingerprint", reader.fingerprint()},
                {"sites_with_fewer_tokens_than_inputs", short_of_rank},
                {"sites", std::move(sites)}};
  if (!settings.model.empty()) {
    facts["fit"] = fit_of(settings.model,
                          [&] { check_base(manifest, io::open_model(settings.model, reporter)); });
  }
  return facts;
}

}  // namespace corda::inspect
