// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/finished_sites.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "corda/core/error.h"
#include "corda/io/tensor.h"

namespace corda::decompose {

using core::concat;
using Json = nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Layers without covariance stand alone and go by their own name.
std::string file_of(const PlannedSite& site) {
  return (site.name.empty() ? site.layers.front().module : site.name) + ".safetensors";
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

// A layer that subtracts its start begins there, so A0 and B0 say everything.
void write(const fs::path& path, const SolvedSite& solved) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::map<std::string, std::string> metadata;
  for (const auto& [module, layer] : solved) {
    const bool subtracts = layer.adapter.subtracts_start();
    tensors.emplace_back(module + (subtracts ? ".a0" : ".a"), layer.adapter.a);
    tensors.emplace_back(module + (subtracts ? ".b0" : ".b"), layer.adapter.b);
    metadata[module] = to_json(layer.report).dump();
  }
  io::save_tensors(path, tensors, metadata);
}

SolvedSite read(const fs::path& path, const PlannedSite& site) {
  const io::SafetensorsFile file(path);
  SolvedSite solved;
  for (const auto& layer : site.layers) {
    SolvedLayer& result = solved[layer.module];
    const auto load = [&](const char* name) {
      return io::view_tensor(file, layer.module + name).clone();
    };
    if (file.tensors().contains(layer.module + ".a0")) {
      result.adapter.a0 = load(".a0");
      result.adapter.b0 = load(".b0");
      result.adapter.a = result.adapter.a0.clone();
      result.adapter.b = result.adapter.b0.clone();
    } else {
      result.adapter.a = load(".a");
      result.adapter.b = load(".b");
    }
    try {
      result.report = report_of(Json::parse(file.metadata().at(layer.module)));
    } catch (const std::exception& error) {
      throw core::FormatError(concat("'", path.string(), "': no report of '", layer.module, "' (",
                                     error.what(), "); remove this folder and run again"));
    }
  }
  return solved;
}

void put(adapter::Adapter& result, const SolvedSite& solved) {
  for (const auto& [module, layer] : solved) {
    result.layers[module] = layer.adapter;
    result.reports[module] = layer.report;
  }
}

}  // namespace

FinishedSites::FinishedSites(const core::WorkDirectory& work, const std::vector<PlannedSite>& sites,
                             adapter::Adapter& result)
    : work_(work), result_(result) {
  for (const auto& site : sites) {
    if (!has(site)) continue;
    put(result, read(work.path() / file_of(site), site));
    layers_taken_ += static_cast<std::int64_t>(site.layers.size());
  }
}

FinishedSites::~FinishedSites() {
  if (writing_.valid()) writing_.wait();
}

bool FinishedSites::has(const PlannedSite& site) const { return work_.has(file_of(site)); }

void FinishedSites::add(const PlannedSite& site, SolvedSite solved) {
  finish();
  put(result_, solved);
  writing_ = std::async(std::launch::async, [path = work_.path() / file_of(site),
                                             solved = std::move(solved)] { write(path, solved); });
}

void FinishedSites::finish() {
  if (writing_.valid()) std::exchange(writing_, {}).get();
}

}  // namespace corda::decompose
