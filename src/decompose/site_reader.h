// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reads a site's covariances and weights while the site before is decomposed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "corda/io/covariance_store.h"
#include "corda/linalg/upload.h"
#include "corda/quant/model_weights.h"
#include "decompose/plan.h"
#include "decompose/starts.h"

namespace corda::decompose {

// The covariance directories that one decomposition uses.
struct Covariances {
  std::deque<io::CovarianceReader> knowledge;
  std::deque<io::CovarianceReader> task;  // none or one

  std::vector<const io::CovarianceReader*> all() const;
  // The tokens that a site saw in these directories together.
  static std::int64_t tokens(const std::deque<io::CovarianceReader>& of, const std::string& site);
};

class SiteReader {
 public:
  // `weights`: read the weights of the site's layers too.
  SiteReader(const quant::ModelWeights& model, const Covariances& covariances, bool weights,
             at::Device device)
      : model_(model), covariances_(covariances), with_weights_(weights), uploader_(device) {}

  struct Loaded {
    SiteInput input;
    std::map<std::string, at::Tensor> weights;  // by module name
  };
  // Returns the site on the device, and starts reading `next` where there is one.
  Loaded take(const PlannedSite& site, const PlannedSite* next);

 private:
  linalg::Uploader::Upload start(const PlannedSite& site);

  quant::ModelWeights model_;
  const Covariances& covariances_;
  bool with_weights_;
  linalg::Uploader uploader_;
  std::optional<linalg::Uploader::Upload> ahead_;
  const PlannedSite* ahead_site_ = nullptr;
};

}  // namespace corda::decompose
