// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How the layers of a site start: the functions that the rows of modes() point to.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/decompose/decompose.h"
#include "corda/decompose/mode.h"
#include "corda/linalg/damped_covariance.h"
#include "corda/linalg/spectrum.h"

namespace corda::decompose {

// The covariances that a site's layers are decomposed by, on the device.
struct SiteInput {
  // covariances [in, in]; a mode with one has it here, the task's too
  std::vector<at::Tensor> knowledge;
  std::vector<at::Tensor> task;  // a mode with two has the task's here
  std::int64_t tokens = 0;       // the tokens of the knowledge's covariances
};

// A site while its layers are solved.
struct SiteWork {
  const DecomposeSettings& settings;
  double scale = 1;
  std::int64_t components = 0;  // the most that a layer of the site takes
  SiteInput input;              // `prepare` takes the covariances out of it
  // What `prepare` leaves for the layers, as the mode needs it. It is mutable, for factors are made
  // when they are first asked for.
  mutable std::deque<linalg::DampedCovariance> damped = {};  // one, or as many as may be chosen
  at::Tensor knowledge = {};                                 // [in, in], fp64
  at::Tensor task = {};                                      // likewise
  std::optional<linalg::Spectrum> directions = {};           // of the input, for all layers

  linalg::SubspaceOptions options() const { return {.exact = settings.exact}; }
};

// A layer of such a site.
struct LayerSite {
  at::Tensor weight;  // W [out, in] in its stored type; undefined for a mode that does not read it
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::int64_t components = 0;  // that are wanted
};

struct LayerStart {
  adapter::Factors stored;      // as the adapter's file holds them
  linalg::Spectrum directions;  // whose values are those of the components, in their order
  std::int64_t without_weight = 0;
  // These have values where covariance or ranks are chosen by compactness.
  std::optional<double> compactness = {};
  std::optional<std::int64_t> covariance = {};
  double sum_of_values = 0;  // of all components of the layer
};

// log of the compactness sqrt(out largest) / smallest of a C~ with these eigenvalues in units of
// the mean of its diagonal (CorDA++, 2506.13187, equation 7). Not below zero.
double log_compactness(const linalg::DampedCovariance::Range& range, std::int64_t out_features);

void prepare_damped(SiteWork& site);   // kpa, ipa, cloq
void prepare_ratio(SiteWork& site);    // dual
void prepare_largest(SiteWork& site);  // eva
void prepare_least(SiteWork& site);    // null
void prepare_both(SiteWork& site);     // sc

LayerStart start_kpa(const SiteWork& site, const LayerSite& layer);
LayerStart start_ipa(const SiteWork& site, const LayerSite& layer);
LayerStart start_dual(const SiteWork& site, const LayerSite& layer);
LayerStart start_null(const SiteWork& site, const LayerSite& layer);
LayerStart start_sc(const SiteWork& site, const LayerSite& layer);
LayerStart start_eva(const SiteWork& site, const LayerSite& layer);
LayerStart start_pissa(const SiteWork& site, const LayerSite& layer);
LayerStart start_milora(const SiteWork& site, const LayerSite& layer);
LayerStart start_mica(const SiteWork& site, const LayerSite& layer);
LayerStart start_cloq(const SiteWork& site, const LayerSite& layer);

}  // namespace corda::decompose
