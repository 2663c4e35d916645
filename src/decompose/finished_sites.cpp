// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/finished_sites.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/linalg/download.h"

namespace corda::decompose {

using core::concat;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kTensors = "adapter_model.safetensors";
constexpr std::size_t kSitesWaiting = 1;

// Layers without covariance stand alone and go by their own name. Names come from files of others.
std::string note_of(const PlannedSite& site) {
  const std::string& name = site.name.empty() ? site.layers.front().module : site.name;
  if (name.starts_with('.') || name.find('/') != std::string::npos)
    throw core::FormatError(concat("'", name, "' cannot be decomposed: it cannot name a file"));
  return name + ".json";
}

Json to_json(const adapter::LayerReport& r) {
  return {{"rank", r.rank},       {"energy", r.energy},  {"total_energy", r.total_energy},
          {"damping", r.damping}, {"tokens", r.tokens},  {"route", r.route},
          {"bound", r.bound},     {"refused", r.refused}};
}

adapter::LayerReport report_of(const Json& json) {
  return {.rank = json.at("rank"),
          .energy = json.at("energy"),
          .total_energy = json.at("total_energy"),
          .damping = json.at("damping"),
          .tokens = json.at("tokens"),
          .route = json.at("route"),
          .bound = json.at("bound"),
          .refused = json.at("refused")};
}

std::map<std::string, adapter::LayerReport> read_note(const fs::path& path,
                                                      const PlannedSite& site) {
  std::map<std::string, adapter::LayerReport> reports;
  try {
    const Json note = Json::parse(core::read_file(path));
    for (const auto& layer : site.layers) reports[layer.module] = report_of(note.at(layer.module));
  } catch (const Json::exception& error) {
    throw core::FormatError(concat("'", path.string(),
                                   "' does not hold the reports of its layers (", error.what(),
                                   "); remove this folder and run again"));
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
  Json note;
  for (const auto& [module, layer] : solved) {
    reports_[module] = layer.report;
    note[module] = to_json(layer.report);
    modules.push_back(module);
    factors.push_back(layer.stored.a);
    factors.push_back(layer.stored.b);
  }
  background_.add([this, modules = std::move(modules), path = work_.path() / note_of(site),
                   text = note.dump(), download = linalg::Download(std::move(factors))] {
    const auto& host = download.wait();
    for (std::size_t i = 0; i < modules.size(); ++i)
      tensors_.put(modules[i], {host[2 * i], host[2 * i + 1]});
    tensors_.flush();
    core::write_file_atomic(path, text);
  });
}

void FinishedSites::finish(const fs::path& directory) {
  background_.finish();
  core::link_or_move(tensors_.path(), directory / kTensors);
}

}  // namespace corda::decompose
