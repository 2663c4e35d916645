// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/rehearsal.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/reporter.h"
#include "corda/linalg/warm_up.h"
#include "decompose/mode_of.h"
#include "decompose/site_solver.h"
#include "linalg/numbers.h"

namespace corda::decompose {

namespace {

at::Tensor covariance(std::int64_t inputs, std::int64_t seed, at::Device device) {
  const at::Tensor x = linalg::normal_numbers(2 * inputs, inputs, seed, device);
  return at::mm(x.t(), x).to(at::kFloat);
}

}  // namespace

void rehearse(const DecomposeSettings& given, at::Device device, std::int64_t inputs) {
  constexpr std::int64_t kSizeOverRank = 8;  // at most: the fast routes take no higher ranks
  const at::NoGradGuard no_grad;
  linalg::load_decompositions(device);
  const Mode& mode = mode_of(given);
  DecomposeSettings settings = given;
  const std::int64_t wide_outputs = inputs / 2;
  settings.rank = std::min(given.rank, wide_outputs / kSizeOverRank);
  settings.ranks = "equal";
  core::Reporter quiet;
  const SiteSolver solver(settings, /*scale=*/1, quiet);
  PlannedSite site;
  for (const std::int64_t outputs : {inputs, wide_outputs}) {
    site.layers.push_back(
        {.module = std::to_string(outputs), .out_features = outputs, .in_features = inputs});
  }
  SiteInput input;
  if (mode.input != Input::kWeight)
    input.knowledge.push_back(covariance(inputs, /*seed=*/5, device));
  if (mode.input == Input::kBoth) input.task.push_back(covariance(inputs, /*seed=*/6, device));
  solver.solve(site, std::move(input), [&](const std::string& module) {
    return linalg::normal_numbers(std::stoll(module), inputs, /*seed=*/7, device).to(at::kBFloat16);
  });
}

}  // namespace corda::decompose
