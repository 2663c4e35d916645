// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/finished_sites.h"

#include <ATen/ATen.h>

#include <utility>

#include "adapter/layer_report.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/linalg/download.h"
#include "core/fields.h"

namespace corda::decompose {

using core::concat;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTensors = "adapter_model.safetensors";
constexpr std::size_t kSitesWaiting = 1;

// Layers without covariance stand alone and go by their own name. Names come from files of others.
std::string note_of(const PlannedSite& site) {
  const std::string& name = site.name.empty() ? site.layers.front().module : site.name;
  if (!core::can_name_file(name))
    throw core::FormatError(concat("'", name, "' cannot be decomposed: it cannot name a file"));
  return name + ".json";
}

std::map<std::string, adapter::LayerReport> read_note(const fs::path& path,
                                                      const PlannedSite& site) {
  const std::string source = concat("'", path.string(), "'");
  std::map<std::string, adapter::LayerReport> reports;
  try {
    const core::Json note = core::read_json(path);
    for (const auto& layer : site.layers) {
      const core::Json& report = core::require_key(note, layer.module.c_str(), source);
      reports[layer.module] = adapter::layer_report_of(
          core::Fields(report, concat(source, ": layer '", layer.module, "'")));
    }
  } catch (const core::FormatError& error) {
    throw core::FormatError(
        concat(error.what(), "; remove '", path.parent_path().string(), "' and run again"));
  }
  return reports;
}

std::map<std::string, adapter::AdapterTensors::Shape> shapes_of(
    const std::vector<PlannedSite>& sites) {
  std::map<std::string, adapter::AdapterTensors::Shape> shapes;
  for (const auto& site : sites) {
    for (const auto& layer : site.layers)
      shapes[layer.module] = {layer.out_features, layer.in_features};
  }
  return shapes;
}

}  // namespace

FinishedSites::FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                             std::int64_t stored_rank,
                             std::map<std::string, adapter::LayerReport>& reports)
    : work_(work),
      reports_(reports),
      tensors_(work.path() / kTensors, shapes_of(sites), stored_rank),
      background_(kSitesWaiting) {
  for (const auto& site : sites) {
    const fs::path note = work.path() / note_of(site);
    // Without the tensors a note is worth nothing.
    if (tensors_.is_new()) fs::remove(note);
    if (!fs::exists(note)) continue;
    reports_.merge(read_note(note, site));
    taken_.insert(site.layers.front().module);
    layers_taken_ += static_cast<std::int64_t>(site.layers.size());
  }
}

void FinishedSites::add(const PlannedSite& site, const SolvedSite& solved) {
  std::vector<std::string> modules;
  std::vector<at::Tensor> factors;
  core::Json note;
  for (const auto& [module, layer] : solved) {
    reports_[module] = layer.report;
    note[module] = adapter::to_json(layer.report);
    modules.push_back(module);
    factors.push_back(layer.stored.a);
    factors.push_back(layer.stored.b);
  }
  background_.add([this, modules = std::move(modules), path = work_.path() / note_of(site),
                   note = std::move(note), download = linalg::Download(std::move(factors))] {
    const auto& host = download.wait();
    for (std::size_t i = 0; i < modules.size(); ++i)
      tensors_.put(modules[i], {host[2 * i], host[2 * i + 1]});
    tensors_.flush();
    core::write_json(path, note);
  });
}

void FinishedSites::finish(const fs::path& directory) {
  background_.finish();
  core::link_or_move(tensors_.path(), directory / kTensors);
}

}  // namespace corda::decompose
