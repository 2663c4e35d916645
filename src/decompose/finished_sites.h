// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Results of finished sites, kept on disk for the output and for a process that goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/core/background.h"
#include "corda/core/work_directory.h"
#include "decompose/plan.h"
#include "decompose/solved_layer.h"

namespace corda::decompose {

// The work directory holds the adapter's tensors, in the file that becomes the adapter's, and a
// note for each site whose tensors are on the disk.
class FinishedSites {
 public:
  // Takes what `work` holds of `sites`, whose layers are solved for `components` and stored with
  // twice as many where the start is subtracted.
  FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                const std::function<std::int64_t(const PlannedLayer&)>& components,
                bool subtracts_start);

  bool has(const PlannedSite& site) const { return taken_.contains(site.layers.front().module); }
  // Layers that an earlier process had finished.
  std::int64_t layers_taken() const { return layers_taken_; }
  // Copies a site's tensors to the host and the disk in the background; waits while more than a
  // few sites are behind. Throws what an earlier site's writing threw. From one thread at a time.
  void add(const PlannedSite& site, const SolvedSite& solved);
  // Waits for the last site; returns what is known of every layer, by module name.
  const std::map<std::string, LayerNote>& finish();
  // Puts the tensors' file into `directory` too. Where `ranks` is not empty the file gets only so
  // many of each layer's first components.
  void write(const std::filesystem::path& directory,
             const std::map<std::string, std::int64_t>& ranks) const;

 private:
  const core::WorkDirectory& work_;
  std::map<std::string, LayerNote> notes_;
  bool subtracts_start_;
  adapter::AdapterTensors tensors_;
  std::set<std::string> taken_;  // first modules of their sites
  std::int64_t layers_taken_ = 0;
  core::Background background_;
};

}  // namespace corda::decompose
