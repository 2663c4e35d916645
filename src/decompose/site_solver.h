// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The adapters of the layers that share one input.
#pragma once

#include <functional>
#include <string>

#include "corda/core/reporter.h"
#include "corda/decompose/decompose.h"
#include "decompose/plan.h"
#include "decompose/solved_layer.h"
#include "decompose/starts.h"

namespace corda::decompose {

class SiteSolver {
 public:
  SiteSolver(const DecomposeSettings& settings, double scale, core::Reporter& reporter);

  // `weight(module)` gives W [out, in] on the device in its stored type; modes that do not read it
  // do not ask for it. What the layers share is made once. Throws NumericalError, which names the
  // layer or the site, and Interrupted.
  SolvedSite solve(const PlannedSite& site, SiteInput input,
                   const std::function<at::Tensor(const std::string& module)>& weight) const;

 private:
  SolvedLayer solve_layer(const SiteWork& work, const LayerSite& layer) const;

  const DecomposeSettings& settings_;
  const Mode& mode_;
  double scale_;
  core::Reporter& reporter_;
};

}  // namespace corda::decompose
