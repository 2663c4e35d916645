// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Results of finished sites, kept on disk for the output and for a process that goes on.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/background.h"
#include "corda/core/work_directory.h"
#include "decompose/site_solver.h"

namespace corda::decompose {

// The work directory holds the adapter's tensors, in the file that becomes the adapter's, and a
// note for each site whose tensors are on the disk.
class FinishedSites {
 public:
  // Takes what `work` holds of `sites`; its reports go into `reports`, as those of `add` do.
  FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                std::int64_t stored_rank, std::map<std::string, adapter::LayerReport>& reports);

  bool has(const PlannedSite& site) const { return taken_.contains(site.layers.front().module); }
  // Layers that an earlier process had finished.
  std::int64_t layers_taken() const { return layers_taken_; }
  // Copies a site's tensors to the host and the disk in the background; waits while more than one
  // site is behind. Throws what an earlier site's writing threw.
  void add(const PlannedSite& site, const SolvedSite& solved);
  // Waits for the last site and puts the tensors' file into `directory` too.
  void finish(const std::filesystem::path& directory);

 private:
  const core::WorkDirectory& work_;
  std::map<std::string, adapter::LayerReport>& reports_;
  adapter::AdapterTensors tensors_;
  std::set<std::string> taken_;  // first modules of their sites
  std::int64_t layers_taken_ = 0;
  core::Background background_;
};

}  // namespace corda::decompose
