// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How many components each layer gets.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "corda/decompose/decompose.h"
#include "decompose/plan.h"
#include "decompose/solved_layer.h"

namespace corda::decompose {

// How many components a layer is solved for: the rank, or where ranks are shared out the largest
// that it may get. Halves go to the even number, as PEFT rounds.
std::int64_t components_of(const DecomposeSettings& settings, const PlannedLayer& layer);

// A layer that ranks are shared out to.
struct Claim {
  std::string module;
  std::int64_t out_features = 0;
  std::int64_t in_features = 0;
  std::vector<double> values;  // of its components, in the order in which it takes them
  double total = 0;            // of all components, LayerReport::total_energy
  double sum_of_values = 0;    // compact: of all components
  double compactness = 0;      // compact: LayerReport::compactness
};

// EVA's rule (2410.07170, as PEFT has it): the shares of all components of all layers in one list,
// the largest first; the first `rank` x layers of them win. A layer whose components win nothing
// gets rank 0. Of equal shares that of the earlier layer goes first.
std::map<std::string, std::int64_t> ranks_by_share(const std::vector<Claim>& claims,
                                                   std::int64_t rank);

// CorDA++'s rule (2506.13187, equations 9 and 10): the score of a layer from which the n smallest
// of its R components are taken is compactness x the n-th smallest / the sum of the R - n others,
// and the layer with the least score is the next to have one more taken. `smallest_first` (kpa):
// what is taken is the adapter; each has one at first, and it ends with the component that no
// longer fits into as many parameters as `rank` would give all layers. Else (ipa) what is left is
// the adapter: each has all of its components at first, the score is that of the next to go, and it
// ends when the parameters fit; one stays in every layer.
std::map<std::string, std::int64_t> ranks_by_compactness(const std::vector<Claim>& claims,
                                                         std::int64_t rank, bool smallest_first);

// The ranks of all layers by the settings' rule; empty where they are equal.
std::map<std::string, std::int64_t> share_out_ranks(const DecomposeSettings& settings,
                                                    const std::vector<PlannedSite>& sites,
                                                    const std::map<std::string, LayerNote>& notes);

}  // namespace corda::decompose
