// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How ranks share sites and bring them to rank 0; what is in them is of no matter.
#include "decompose/site_exchange.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/rank_threads.h"

namespace corda::decompose {
namespace {

using ::corda::testing::as_ranks;
using ::corda::testing::error_of;

constexpr std::int64_t kRank = 2;

// Sites of one layer or two, each wider than the one before.
std::vector<PlannedSite> planned(std::int64_t count) {
  std::vector<PlannedSite> sites;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string name = "site-" + std::to_string(i);
    PlannedSite site{name, {{name + ".a", 3, 4 + i}}};
    if (i % 2 == 1) site.layers.push_back({name + ".b", 5, 4 + i});
    sites.push_back(site);
  }
  return sites;
}

std::vector<const PlannedSite*> pointers_to(const std::vector<PlannedSite>& sites) {
  std::vector<const PlannedSite*> result;
  for (const auto& site : sites) result.push_back(&site);
  return result;
}

// A number that no other layer has stands everywhere in what a layer was solved to.
double number_of(const PlannedLayer& layer) {
  return static_cast<double>(10 * layer.in_features + layer.out_features);
}

SolvedSite solved(const PlannedSite& site) {
  SolvedSite result;
  for (const auto& layer : site.layers) {
    const double number = number_of(layer);
    SolvedLayer& made = result[layer.module];
    made.stored = {at::full({kRank, layer.in_features}, number, at::kFloat),
                   at::full({kRank, layer.out_features}, -number, at::kFloat).t()};
    made.note.report.rank = kRank;
    made.note.report.energy = number;
    made.note.values = {number, 1.0 / 3};
    made.note.sum_of_values = number + 1;
  }
  return result;
}

void expect_solved(const PlannedSite& site, const SolvedSite& found) {
  EXPECT_EQ(found.size(), site.layers.size());
  for (const auto& layer : site.layers) {
    const double number = number_of(layer);
    const SolvedLayer& made = found.at(layer.module);
    EXPECT_TRUE(at::equal(made.stored.a, at::full({kRank, layer.in_features}, number, at::kFloat)));
    EXPECT_TRUE(
        at::equal(made.stored.b, at::full({layer.out_features, kRank}, -number, at::kFloat)));
    EXPECT_EQ(made.note.report.energy, number);
    EXPECT_EQ(made.note.values, (std::vector<double>{number, 1.0 / 3}));
    EXPECT_EQ(made.note.sum_of_values, number + 1);
  }
}

// Where rank 0 keeps sites; it is used by its other thread.
class Kept {
 public:
  explicit Kept(std::size_t wanted) : wanted_(wanted) {}
  SiteExchange::Options options() {
    return {.stored_rank = [](const PlannedLayer&) { return kRank; },
            .keep =
                [this](const PlannedSite& site, const SolvedSite& found) {
                  expect_solved(site, found);
                  names_.push_back(site.name);
                  if (names_.size() == wanted_) all_.set_value();
                }};
  }
  // Whether so many as were wanted came within a minute.
  bool came() {
    return all_.get_future().wait_for(std::chrono::minutes(1)) == std::future_status::ready;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  std::size_t wanted_;
  std::vector<std::string> names_;
  std::promise<void> all_;
};

// Takes and adds until all are taken.
std::vector<std::string> work_through(SiteExchange& exchange) {
  std::vector<std::string> taken;
  while (const PlannedSite* site = exchange.take()) {
    taken.push_back(site->name);
    exchange.add(*site, solved(*site));
  }
  return taken;
}

TEST(SiteExchange, EachSiteIsTakenByOneRankAndComesToRankZero) {
  const auto sites = planned(40);
  Kept kept(sites.size());
  std::mutex mutex;
  std::multiset<std::string> taken;
  as_ranks(3, [&](dist::World& world) {
    core::Reporter quiet;
    SiteExchange exchange(world, pointers_to(sites), kept.options(), quiet);
    exchange.expect(sites.size());
    const auto own = work_through(exchange);
    exchange.finish();
    const std::lock_guard lock(mutex);
    taken.insert(own.begin(), own.end());
  });
  std::multiset<std::string> all;
  for (const auto& site : sites) all.insert(site.name);
  EXPECT_EQ(taken, all);
  EXPECT_EQ(std::multiset<std::string>(kept.names().begin(), kept.names().end()), all);
}

TEST(SiteExchange, SeveralRanksTakeTheLargestFirstAndOneTakesThemInTheirOrder) {
  const auto sites = planned(5);
  const std::vector<std::string> order = {"site-0", "site-1", "site-2", "site-3", "site-4"};
  // in (in + out): 7 x 15, 8 x 11, 5 x 13, 6 x 9, 4 x 7.
  const std::vector<std::string> largest_first = {"site-3", "site-4", "site-1", "site-2", "site-0"};
  Kept alone(sites.size());
  core::Reporter quiet;
  SiteExchange exchange(dist::alone(), pointers_to(sites), alone.options(), quiet);
  exchange.expect(sites.size());
  EXPECT_EQ(work_through(exchange), order);
  exchange.finish();
  EXPECT_EQ(alone.names(), order);
  Kept kept(sites.size());
  as_ranks(2, [&](dist::World& world) {
    core::Reporter silent;
    SiteExchange shared(world, pointers_to(sites), kept.options(), silent);
    shared.expect(sites.size());
    world.barrier();
    if (world.rank() == 1) {
      EXPECT_EQ(work_through(shared), largest_first);
    }
    shared.finish();
  });
  EXPECT_EQ(kept.names(), largest_first) << "they come in the order in which they were solved";
}

// Rank 1 works on its first site until rank 0 has solved, and keeps, all the others.
TEST(SiteExchange, ASlowSiteHoldsUpNobody) {
  const auto sites = planned(30);
  Kept kept(sites.size() - 1);
  std::promise<void> taken;
  as_ranks(2, [&](dist::World& world) {
    core::Reporter quiet;
    SiteExchange exchange(world, pointers_to(sites), kept.options(), quiet);
    exchange.expect(sites.size());
    if (world.rank() == 1) {
      const PlannedSite* slow = exchange.take();
      EXPECT_EQ(slow->name, "site-29");
      taken.set_value();
      EXPECT_TRUE(kept.came());
      exchange.add(*slow, solved(*slow));
      EXPECT_EQ(exchange.take(), nullptr);
    } else {
      taken.get_future().wait();
      EXPECT_EQ(work_through(exchange).size(), sites.size() - 1);
    }
    exchange.finish();
  });
  ASSERT_EQ(kept.names().size(), sites.size());
  EXPECT_EQ(kept.names().back(), "site-29");
}

// Each rank has sites of its own and the ranks sum something between two blocks.
TEST(SiteExchange, BetweenBlocksRanksMayCallEachOther) {
  const auto sites = planned(12);
  Kept kept(sites.size());
  as_ranks(3, [&](dist::World& world) {
    core::Reporter quiet;
    SiteExchange exchange(world, pointers_to(sites), kept.options(), quiet);
    for (std::size_t block = 0; block < 4; ++block) {
      exchange.expect(3);
      // Of the first block rank 2 has all, of the second rank 1 and so on.
      for (std::size_t i = 3 * block; i < 3 * block + 3; ++i) {
        if ((world.rank() + static_cast<int>(block)) % 3 == 2)
          exchange.add(sites[i], solved(sites[i]));
      }
      exchange.finish();
      const at::Tensor one = at::ones({1});
      world.sum(one);
      EXPECT_EQ(one.item<float>(), 3);
      if (world.is_first()) {
        EXPECT_EQ(kept.names().size(), 3 * block + 3);
      }
    }
  });
}

// In the second round the site that is announced last is of a rank that has gone.
TEST(SiteExchange, ARankThatFailsEndsTheOthersWithItsName) {
  for (const bool announces : {false, true}) {
    const auto sites = planned(12);
    Kept kept(sites.size() + 1);
    std::promise<void> taken;
    as_ranks(2, [&](dist::World& world) {
      core::Reporter quiet;
      if (world.rank() == 1) {
        {
          SiteExchange exchange(world, pointers_to(sites), kept.options(), quiet);
          if (!announces) exchange.expect(sites.size());
          const PlannedSite* site = exchange.take();
          taken.set_value();
          if (announces) exchange.add(*site, solved(*site));
        }
        world.fail(core::NumericalError("no sense"));
        return;
      }
      SiteExchange exchange(world, pointers_to(sites), kept.options(), quiet);
      taken.get_future().wait();
      EXPECT_EQ(error_of<dist::PeerLost>([&] {
                  exchange.expect(sites.size());
                  work_through(exchange);
                  exchange.finish();
                }),
                "ended because rank 1 of 2 did: no sense");
    });
  }
}

TEST(SiteExchange, AloneWhatWasSolvedIsKeptWhereTheWorkIsBrokenOff) {
  const auto sites = planned(3);
  Kept kept(sites.size());
  core::Reporter quiet;
  {
    SiteExchange exchange(dist::alone(), pointers_to(sites), kept.options(), quiet);
    exchange.expect(sites.size());
    for (std::size_t i = 0; i < 2; ++i) exchange.add(sites[i], solved(sites[i]));
  }
  EXPECT_EQ(kept.names(), (std::vector<std::string>{"site-0", "site-1"}));
}

// Of four sites each of two ranks may have one in reserve only while two are left for both.
TEST(SiteExchange, TheLastSitesAreNobodysReserve) {
  const auto sites = planned(4);
  as_ranks(2, [&](dist::World& world) {
    core::Reporter quiet;
    SiteExchange exchange(world, pointers_to(sites), Kept(4).options(), quiet);
    if (!world.is_first()) {
      world.barrier();
      EXPECT_NE(exchange.take(), nullptr);
      EXPECT_EQ(exchange.take_ahead(), nullptr);
      world.barrier();
      return;
    }
    EXPECT_NE(exchange.take(), nullptr);
    EXPECT_NE(exchange.take_ahead(), nullptr);
    world.barrier();
    world.barrier();
    EXPECT_NE(exchange.take(), nullptr);
    EXPECT_EQ(exchange.take(), nullptr);
  });
}

// The solver waits for room when the disk turns out to be full.
TEST(SiteExchange, WhatKeepingASiteThrowsComesOut) {
  const auto sites = planned(20);
  std::atomic<int> added = 0;
  SiteExchange::Options options = Kept(1).options();
  options.keep = [&](const PlannedSite&, const SolvedSite&) {
    while (added < 4) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    throw core::ResourceError("the disk is full");
  };
  core::Reporter quiet;
  SiteExchange exchange(dist::alone(), pointers_to(sites), options, quiet);
  exchange.expect(sites.size());
  EXPECT_EQ(error_of<core::ResourceError>([&] {
              for (const auto& site : sites) {
                exchange.add(site, solved(site));
                ++added;
              }
            }),
            "the disk is full");
  EXPECT_LT(added, 8) << "no more is solved than may wait";
  EXPECT_THROW(exchange.take(), core::ResourceError);
  EXPECT_THROW(exchange.finish(), core::ResourceError);
}

}  // namespace
}  // namespace corda::decompose
