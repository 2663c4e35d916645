// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sites dealt out to several ranks, and what they were decomposed into brought to rank 0.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "decompose/plan.h"
#include "decompose/solved_layer.h"

namespace corda::decompose {

// About how long a site takes, without a unit: solvers work on the square of its inputs.
std::int64_t cost_of(const PlannedSite& site);

// Sites that the ranks solve beside each other: the one at index i is that of rank i. Every round
// has as many as there are ranks but the last; their costs are alike. One rank gets them in their
// order.
using Round = std::vector<const PlannedSite*>;
std::vector<Round> rounds_of(std::vector<const PlannedSite*> sites, int ranks);

// The rank of each of a block's sites: together they have about as much to do.
std::map<std::string, int> owners_of(const std::vector<const PlannedSite*>& sites, int ranks);

class SiteExchange {
 public:
  // Factors are on `device`; `stored_rank` says how many components a layer's are stored with.
  SiteExchange(dist::World& world, std::function<std::int64_t(const PlannedLayer&)> stored_rank,
               at::Device device, core::Reporter& reporter)
      : world_(world), stored_rank_(std::move(stored_rank)), device_(device), reporter_(reporter) {}

  // `solved` has those of `sites` that this rank solved, by first module. Afterwards rank 0 has all
  // of them in it.
  void collect(const std::vector<const PlannedSite*>& sites, const std::vector<int>& owners,
               std::map<std::string, SolvedSite>& solved) const;

 private:
  // Gives every rank the text that `owner` called it with.
  std::string sent(const std::string& text, int owner) const;

  dist::World& world_;
  std::function<std::int64_t(const PlannedLayer&)> stored_rank_;
  at::Device device_;
  core::Reporter& reporter_;
};

}  // namespace corda::decompose
