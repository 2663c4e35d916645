// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/site_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/pause.h"
#include "corda/data/batch.h"
#include "core/fields.h"

namespace corda::decompose {

using core::concat;

namespace {

// Solved sites of a rank that wait to be passed on: few, for they take memory of the device.
constexpr int kSitesWaiting = 4;
using Clock = std::chrono::steady_clock;

const std::string& key_of(const PlannedSite& site) { return site.layers.front().module; }

std::string announcement_of(const PlannedSite& site, int rank, const SolvedSite& solved) {
  core::Json layers = core::Json::object();
  for (const auto& [module, layer] : solved) layers[module] = to_json(layer.note);
  return core::Json{{"site", key_of(site)}, {"rank", rank}, {"layers", layers}}.dump();
}

std::vector<at::Tensor> factors_of(const SolvedSite& solved) {
  std::vector<at::Tensor> factors;
  for (const auto& [module, layer] : solved)
    factors.insert(factors.end(), {layer.stored.a, layer.stored.b});
  return factors;
}

}  // namespace

std::int64_t cost_of(const PlannedSite& site) {
  const std::int64_t in = site.layers.front().in_features;
  std::int64_t out = 0;
  for (const auto& layer : site.layers) out += layer.out_features;
  return in * (in + out);
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

SiteExchange::SiteExchange(dist::World& world, std::vector<const PlannedSite*> sites,
                           Options options, core::Reporter& reporter)
    : world_(world),
      options_(std::move(options)),
      reporter_(reporter),
      order_(std::move(sites)),
      board_(world.board()),
      background_(/*waiting=*/1) {
  for (const auto* site : order_) by_module_[key_of(*site)] = site;
  if (world.is_alone()) return;
  std::stable_sort(order_.begin(), order_.end(),
                   [](const auto* a, const auto* b) { return cost_of(*a) > cost_of(*b); });
}

SiteExchange::~SiteExchange() { ending_ = true; }

void SiteExchange::expect(std::size_t sites) {
  const std::int64_t begin = expected_;
  expected_ += static_cast<std::int64_t>(sites);
  background_.add([this, begin, end = expected_] {
    try {
      pass_on_all(begin, end);
    } catch (...) {
      {
        const std::lock_guard lock(mutex_);
        failed_ = true;
      }
      room_.notify_all();  // the caller may be waiting for it, and is to hear of this
      throw;
    }
  });
}

void SiteExchange::pass_on_all(std::int64_t begin, std::int64_t end) {
  Clock::time_point found = Clock::now();
  for (std::int64_t place = begin; place < end;) {
    // Rank 0 may never come for what is announced; alone it is kept first.
    const bool ending = ending_;
    if (ending && !world_.is_alone()) return;
    if (const auto announcement = board_->read(place)) {
      pass_on(*announcement);
      ++place;
      found = Clock::now();
    } else if (ending) {
      return;
    } else {
      std::this_thread::sleep_for(core::pause_since(found, std::chrono::milliseconds(1)));
    }
  }
}

const PlannedSite* SiteExchange::take() {
  background_.wait_for_room();
  const auto i = static_cast<std::size_t>(board_->next());
  last_taken_ = i;
  return i < order_.size() ? order_[i] : nullptr;
}

const PlannedSite* SiteExchange::take_ahead() {
  const auto ranks = static_cast<std::size_t>(world_.size());
  return last_taken_ + ranks < order_.size() ? take() : nullptr;
}

void SiteExchange::add(const PlannedSite& site, SolvedSite solved) {
  background_.wait_for_room();
  {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return waiting_ < kSitesWaiting || failed_; });
    ++waiting_;
    if (failed_) {
      lock.unlock();
      background_.finish();  // throws what the other thread threw
    }
  }
  for (auto& [module, layer] : solved)
    layer.stored = {layer.stored.a.contiguous(), layer.stored.b.contiguous()};
  std::vector<at::Tensor> factors = factors_of(solved);
  const std::string announcement = announcement_of(site, world_.rank(), solved);
  {
    const std::lock_guard lock(mutex_);
    own_.emplace(key_of(site),
                 Own{std::move(solved),
                     linalg::Download(std::move(factors), linalg::Download::Begins::kWhenWaited)});
  }
  board_->post(announcement);
}

void SiteExchange::finish() { background_.finish(); }

SolvedSite SiteExchange::taken(const PlannedSite& site) {
  std::unique_lock lock(mutex_);
  auto node = own_.extract(key_of(site));
  lock.unlock();
  SolvedSite solved = std::move(node.mapped().solved);
  auto factor = node.mapped().factors.wait().begin();
  for (auto& [module, layer] : solved) {
    layer.stored.a = *factor++;
    layer.stored.b = *factor++;
  }
  return solved;
}

SolvedSite SiteExchange::room_for(const PlannedSite& site) const {
  SolvedSite result;
  for (const auto& layer : site.layers) {
    const std::int64_t rank = options_.stored_rank(layer);
    result[layer.module].stored = {at::empty({rank, layer.in_features}, at::kFloat),
                                   at::empty({layer.out_features, rank}, at::kFloat)};
  }
  return result;
}

void SiteExchange::pass_on(const std::string& announcement) {
  const std::string source = "what a rank announced";
  const core::Json json = core::parse_json(announcement, source);
  const core::Fields told(json, source);
  const PlannedSite& site = *by_module_.at(told.text("site"));
  const int owner = static_cast<int>(told.integer("rank"));
  const bool mine = owner == world_.rank();
  if (!mine && !world_.is_first()) return;
  SolvedSite solved = mine ? taken(site) : room_for(site);
  if (owner != 0) world_.pass(factors_of(solved), owner, 0);
  if (!mine) {
    for (auto& [module, layer] : solved)
      layer.note = layer_note_of(core::Fields(told.object("layers").at(module), source));
  }
  if (world_.is_first()) options_.keep(site, solved);
  if (!mine) reporter_.advance(static_cast<std::int64_t>(site.layers.size()), site.name);
  if (!mine) return;
  {
    const std::lock_guard lock(mutex_);
    --waiting_;
  }
  room_.notify_one();
}

}  // namespace corda::decompose
