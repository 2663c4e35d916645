// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sites shared out to several ranks, and what they were decomposed into brought to rank 0.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "corda/core/background.h"
#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "corda/linalg/download.h"
#include "decompose/plan.h"
#include "decompose/solved_layer.h"

namespace corda::decompose {

// About how long a site takes, without a unit: solvers work on the square of its inputs.
std::int64_t cost_of(const PlannedSite& site);

// The rank of each of a block's sites: together they have about as much to do.
std::map<std::string, int> owners_of(const std::vector<const PlannedSite*>& sites, int ranks);

// Ranks solve sites in no common order, and nobody waits for another one: what a rank has solved is
// announced on a board; on every rank a thread goes through the announcements, copies the factors
// of its own sites to the host and passes them to rank 0. So GPUs need not be connected, and no
// solver waits behind a copy.
class SiteExchange {
 public:
  struct Options {
    // How many components a layer's factors are stored with.
    std::function<std::int64_t(const PlannedLayer&)> stored_rank;
    // Called on rank 0 for every site of every rank, in the other thread, with factors on the host.
    std::function<void(const PlannedSite&, const SolvedSite&)> keep;
  };
  // Every rank gives the same sites. The reporter is told on rank 0 of the layers of other ranks.
  SiteExchange(dist::World& world, std::vector<const PlannedSite*> sites, Options options,
               core::Reporter& reporter);
  SiteExchange(const SiteExchange&) = delete;
  SiteExchange& operator=(const SiteExchange&) = delete;
  // Does not wait for what other ranks have not announced yet. Alone, what was added is kept.
  ~SiteExchange();

  // So many more sites will be added by all ranks together. This call and those below throw what
  // the other thread threw.
  void expect(std::size_t sites);
  // A site that no other rank gets; null where all are taken. Those that take longest come first,
  // so that all ranks end at about the same time; one rank gets them in their order.
  const PlannedSite* take();
  // The same for a rank that has one still to solve; null too where so few are left that another
  // rank, which has none, would wait for it.
  const PlannedSite* take_ahead();
  // A site that this rank has solved, one of those expected. Waits while a few others are behind.
  void add(const PlannedSite& site, SolvedSite solved);
  // Waits until all that was expected is where it belongs.
  void finish();

 private:
  struct Own {
    SolvedSite solved;
    linalg::Download factors;
  };
  // The other thread's work: passes on what stands at the places [begin, end) of the board.
  void pass_on_all(std::int64_t begin, std::int64_t end);
  // Brings an announced site to rank 0; others than these two do nothing.
  void pass_on(const std::string& announcement);
  SolvedSite taken(const PlannedSite& site);  // of this rank's own, with its factors on the host
  SolvedSite room_for(const PlannedSite& site) const;

  dist::World& world_;
  Options options_;
  core::Reporter& reporter_;
  std::vector<const PlannedSite*> order_;                // in which they are taken
  std::map<std::string, const PlannedSite*> by_module_;  // by their first
  std::unique_ptr<dist::Board> board_;
  std::int64_t expected_ = 0;
  std::size_t last_taken_ = 0;
  std::mutex mutex_;
  std::condition_variable room_;
  std::map<std::string, Own> own_;  // announced, not begun to be passed on
  int waiting_ = 0;                 // of this rank's, not passed on yet
  bool failed_ = false;             // the other thread has, and passes nothing on
  std::atomic<bool> ending_ = false;
  core::Background background_;  // the last member: its thread uses all above, and ends first
};

}  // namespace corda::decompose
