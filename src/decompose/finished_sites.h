// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Results of finished sites, collected in memory and kept on disk for a process that goes on.
#pragma once

#include <future>
#include <string>

#include "corda/adapter/adapter.h"
#include "corda/core/work_directory.h"
#include "decompose/site_solver.h"

namespace corda::decompose {

class FinishedSites {
 public:
  // Takes what `work` holds of `sites` into `result`.
  FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                adapter::Adapter& result);
  FinishedSites(const FinishedSites&) = delete;
  FinishedSites& operator=(const FinishedSites&) = delete;
  ~FinishedSites();

  bool has(const PlannedSite& site) const;
  // Layers that were taken from `work`.
  std::int64_t layers_taken() const { return layers_taken_; }
  // Adds a site to the result and writes its file in the background; waits for the one before and
  // throws what writing that one threw.
  void add(const PlannedSite& site, SolvedSite solved);
  // Waits for the last file.
  void finish();

 private:
  const core::WorkDirectory& work_;
  adapter::Adapter& result_;
  std::int64_t layers_taken_ = 0;
  std::future<void> writing_;
};

}  // namespace corda::decompose
