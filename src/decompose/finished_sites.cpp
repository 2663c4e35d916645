// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/finished_sites.h"

#include <ATen/ATen.h>

#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/linalg/download.h"
#include "core/fields.h"

namespace corda::decompose {

using core::concat;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTensors = "adapter_model.safetensors";
// The sites of several ranks come faster than those of one, and may come together.
constexpr std::size_t kSitesWaiting = 4;

// A layer without a covariance is a site of its own and goes by its own name. The name comes from a
// file of somebody else's, so it is checked before it names a file of ours.
std::string note_of(const PlannedSite& site) {
  const std::string& name = site.name.empty() ? site.layers.front().module : site.name;
  if (!core::can_name_file(name))
    throw core::FormatError(concat("'", name, "' cannot be decomposed: it cannot name a file"));
  return name + ".json";
}

std::map<std::string, LayerNote> read_note(
    const fs::path& path, const PlannedSite& site,
    const std::function<std::int64_t(const PlannedLayer&)>& components) {
  const std::string source = concat("'", path.string(), "'");
  std::map<std::string, LayerNote> notes;
  try {
    const core::Json read = core::read_json(path);
    for (const auto& layer : site.layers) {
      const core::Json& of_layer = core::require_key(read, layer.module.c_str(), source);
      const core::Fields fields(of_layer, concat(source, ": layer '", layer.module, "'"));
      const LayerNote note = layer_note_of(fields);
      const auto values = static_cast<std::int64_t>(note.values.size());
      if (note.report.rank != components(layer) || (values > 0 && values != note.report.rank))
        fields.fail(concat("it is of ", note.report.rank, " components with ", values, " values"));
      notes[layer.module] = note;
    }
  } catch (const core::FormatError& error) {
    throw core::FormatError(
        concat(error.what(), "; remove '", path.parent_path().string(), "' and run again"));
  }
  return notes;
}

std::map<std::string, adapter::AdapterTensors::Shape> shapes_of(
    const std::vector<PlannedSite>& sites,
    const std::function<std::int64_t(const PlannedLayer&)>& components, bool subtracts_start) {
  std::map<std::string, adapter::AdapterTensors::Shape> shapes;
  for (const auto& site : sites) {
    for (const auto& layer : site.layers) {
      shapes[layer.module] = {.out_features = layer.out_features,
                              .in_features = layer.in_features,
                              .stored_rank = components(layer) * (subtracts_start ? 2 : 1)};
    }
  }
  return shapes;
}

}  // namespace

FinishedSites::FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                             const std::function<std::int64_t(const PlannedLayer&)>& components,
                             bool subtracts_start)
    : work_(work),
      subtracts_start_(subtracts_start),
      tensors_(work.path() / kTensors, shapes_of(sites, components, subtracts_start)),
      background_(kSitesWaiting) {
  for (const auto& site : sites) {
    const fs::path note = work.path() / note_of(site);
    // Without the tensors a note is worth nothing.
    if (tensors_.is_new()) fs::remove(note);
    if (!fs::exists(note)) continue;
    notes_.merge(read_note(note, site, components));
    taken_.insert(site.layers.front().module);
    layers_taken_ += static_cast<std::int64_t>(site.layers.size());
  }
}

void FinishedSites::add(const PlannedSite& site, const SolvedSite& solved) {
  std::vector<std::string> modules;
  std::vector<at::Tensor> factors;
  core::Json note;
  for (const auto& [module, layer] : solved) {
    notes_[module] = layer.note;
    note[module] = to_json(layer.note);
    modules.push_back(module);
    factors.push_back(layer.stored.a);
    factors.push_back(layer.stored.b);
  }
  background_.add([this, modules = std::move(modules), path = work_.path() / note_of(site),
                   note = std::move(note),
                   download = linalg::Download(std::move(factors))]() mutable {
    const auto& host = download.wait();
    for (std::size_t i = 0; i < modules.size(); ++i)
      tensors_.put(modules[i], {host[2 * i], host[2 * i + 1]});
    tensors_.flush();
    core::write_json(path, note);
  });
}

const std::map<std::string, LayerNote>& FinishedSites::finish() {
  background_.finish();
  return notes_;
}

void FinishedSites::write(const fs::path& directory,
                          const std::map<std::string, std::int64_t>& ranks) const {
  if (ranks.empty()) return core::link_or_move(tensors_.path(), directory / kTensors);
  adapter::write_first_components(tensors_.path(), directory / kTensors, ranks, subtracts_start_);
}

}  // namespace corda::decompose
