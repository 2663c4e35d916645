// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/data/batch.h"
#include "core/fields.h"

namespace corda::decompose {

using core::concat;

std::int64_t cost_of(const PlannedSite& site) {
  const std::int64_t in = site.layers.front().in_features;
  std::int64_t out = 0;
  for (const auto& layer : site.layers) out += layer.out_features;
  return in * (in + out);
}

std::vector<Round> rounds_of(std::vector<const PlannedSite*> sites, int ranks) {
  if (ranks > 1) {
    std::stable_sort(sites.begin(), sites.end(),
                     [](const auto* a, const auto* b) { return cost_of(*a) > cost_of(*b); });
  }
  std::vector<Round> rounds;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    if (i % static_cast<std::size_t>(ranks) == 0) rounds.emplace_back();
    rounds.back().push_back(sites[i]);
  }
  return rounds;
}

std::map<std::string, int> owners_of(const std::vector<const PlannedSite*>& sites, int ranks) {
  std::vector<std::int64_t> costs;
  for (const auto* site : sites) costs.push_back(cost_of(*site));
  std::map<std::string, int> owners;
  for (int rank = 0; rank < ranks; ++rank) {
    for (const std::size_t i : data::share_of(costs, rank, ranks)) owners[sites[i]->name] = rank;
  }
  return owners;
}

namespace {

std::string notes_of(const SolvedSite& solved) {
  core::Json notes = core::Json::object();
  for (const auto& [module, layer] : solved) notes[module] = to_json(layer.note);
  return notes.dump();
}

}  // namespace

// Sends the text as two broadcasts. World::gather would do it too, but it is made for a few texts
// in a job and waits in steps of milliseconds.
std::string SiteExchange::sent(const std::string& text, int owner) const {
  const bool mine = world_.rank() == owner;
  const auto whole = at::TensorOptions().dtype(at::kLong);
  const at::Tensor size = at::full({1}, static_cast<std::int64_t>(text.size()), whole).to(device_);
  world_.broadcast(size, owner);
  std::string result(static_cast<std::size_t>(size.item<std::int64_t>()), '\0');
  if (mine) result = text;
  const at::Tensor bytes = at::from_blob(result.data(), {static_cast<std::int64_t>(result.size())},
                                         at::TensorOptions().dtype(at::kByte))
                               .to(device_, at::kByte, /*non_blocking=*/false, /*copy=*/true);
  world_.broadcast(bytes, owner);
  const at::Tensor host = bytes.cpu();
  return {static_cast<const char*>(host.const_data_ptr()), result.size()};
}

void SiteExchange::collect(const std::vector<const PlannedSite*>& sites,
                           const std::vector<int>& owners,
                           std::map<std::string, SolvedSite>& solved) const {
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const PlannedSite& site = *sites[i];
    const std::string& key = site.layers.front().module;
    const int owner = owners[i];
    if (owner == 0) continue;  // it is where it belongs
    const bool mine = world_.rank() == owner;
    const std::string told = sent(mine ? notes_of(solved.at(key)) : "", owner);
    SolvedSite received;
    for (const auto& layer : site.layers) {
      SolvedLayer& here = received[layer.module];
      if (mine) {
        here = solved.at(key).at(layer.module);
        here.stored = {here.stored.a.contiguous(), here.stored.b.contiguous()};
      } else {
        const auto fp32 = at::TensorOptions().device(device_).dtype(at::kFloat);
        const std::int64_t rank = stored_rank_(layer);
        here.stored = {at::empty({rank, layer.in_features}, fp32),
                       at::empty({layer.out_features, rank}, fp32)};
      }
      world_.broadcast(here.stored.a, owner);
      world_.broadcast(here.stored.b, owner);
    }
    if (!world_.is_first()) continue;
    const std::string source = concat("rank ", owner);
    const core::Json notes = core::parse_json(told, source);
    for (auto& [module, layer] : received)
      layer.note = layer_note_of(core::Fields(notes.at(module), source));
    solved[key] = std::move(received);
    reporter_.advance(static_cast<std::int64_t>(site.layers.size()), site.name);
  }
}

}  // namespace corda::decompose
