// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The adapters of the layers that share one input.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/reporter.h"
#include "corda/decompose/decompose.h"
#include "corda/linalg/spectrum.h"
#include "decompose/plan.h"

namespace corda::decompose {

// What a site's layers are decomposed by, on the device.
struct SiteInput {
  std::vector<at::Tensor> knowledge;  // covariances [in, in] to be mixed; none for pissa
  std::vector<at::Tensor> task;       // dual: the same for the task
  std::int64_t tokens = 0;            // that the knowledge saw
};

struct SolvedLayer {
  adapter::Factors stored;  // as the adapter's file holds them, fp32 on the device
  adapter::LayerReport report;
};
using SolvedSite = std::map<std::string, SolvedLayer>;  // by module name

class SiteSolver {
 public:
  SiteSolver(const DecomposeSettings& settings, double scale, core::Reporter& reporter)
      : settings_(settings), scale_(scale), reporter_(reporter) {}

  // `weight(module)` gives W [out, in] on the device in its stored type; dual does not ask for it.
  // The covariance is factorised once. Throws NumericalError, which names the layer or the site,
  // and Interrupted.
  SolvedSite solve(const PlannedSite& site, SiteInput input,
                   const std::function<at::Tensor(const std::string& module)>& weight) const;

 private:
  // A layer's adapter and the directions that it is made of.
  struct Choice {
    adapter::Factors stored;
    linalg::Spectrum directions;
    double energy = 0;  // the sum of their values for dual, else the norm
    std::int64_t without_weight = 0;
  };

  // Chooses for layer after layer.
  SolvedSite each_layer(const PlannedSite& site, std::int64_t tokens,
                        const std::function<Choice(const PlannedLayer& layer)>& choose) const;
  // Throws NumericalError where fp32 cannot hold the factors.
  static void check_finite(const Choice& choice);

  const DecomposeSettings& settings_;
  double scale_;
  core::Reporter& reporter_;
};

// Whether the adapter keeps A frozen and subtracts no start: mode dual.
bool is_dual(const DecomposeSettings& settings);

}  // namespace corda::decompose
