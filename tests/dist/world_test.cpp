// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What ranks do together, over Gloo: each rank a thread of this process.
#include "corda/dist/world.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <optional>
#include <string>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <vector>

#include "corda/core/error.h"
#include "dist/board.h"
#include "support/error_of.h"
#include "support/rank_threads.h"

namespace corda::dist {
namespace {

using ::corda::testing::as_ranks;
using ::corda::testing::error_of;

at::Tensor numbers(double first, std::int64_t count) {
  return at::arange(count, at::kFloat) + first;
}

TEST(World, AGatherGivesThePiecesInTheOrderOfTheRanks) {
  as_ranks(3, [](World& world) {
    const at::Tensor all = at::full({6}, -1.0F);
    world.begin_gather(all, numbers(10 * world.rank(), 2))->wait();
    EXPECT_TRUE(at::equal(all, at::tensor({0.0F, 1.0F, 10.0F, 11.0F, 20.0F, 21.0F})));
    const at::Tensor local = at::full({6}, -1.0F);
    world.begin_local_gather(local, numbers(10 * world.rank(), 2))->wait();
    EXPECT_TRUE(at::equal(local, all)) << "all ranks are on this machine";
  });
}

TEST(World, AScatteredSumGivesEachRankItsPieceOfTheSum) {
  as_ranks(3, [](World& world) {
    const at::Tensor all = numbers(100 * world.rank(), 6);
    const at::Tensor piece = at::zeros({2});
    world.begin_scatter_sum(piece, all)->wait();
    // 3 i + (0 + 100 + 200) at place i.
    EXPECT_TRUE(at::equal(piece, at::arange(2, at::kFloat) * 3 + 300 + 6 * world.rank()));
  });
}

// Rank 1 has no part in it; each tensor is as long as its number.
TEST(World, OneRankPassesTensorsToAnotherInTheirOrder) {
  as_ranks(3, [](World& world) {
    if (world.rank() == 1) return;
    for (const double first : {1.0, 5.0, 9.0}) {
      const at::Tensor short_one = at::full({3}, first, at::kFloat);
      const at::Tensor long_one = at::full({100'000}, first + 1, at::kFloat);
      const bool sends = world.rank() == 2;
      const std::vector<at::Tensor> tensors = {sends ? short_one : at::zeros({3}),
                                               sends ? long_one : at::zeros({100'000})};
      world.pass(tensors, /*from=*/2, /*to=*/0);
      EXPECT_TRUE(at::equal(tensors[0], short_one));
      EXPECT_TRUE(at::equal(tensors[1], long_one));
    }
  });
}

// The first rank waits for what the other will not send.
TEST(World, APassEndsWhereTheOtherRankFails) {
  as_ranks(2, [](World& world) {
    if (world.rank() == 1) {
      world.fail(core::NumericalError("no sense"));
      return;
    }
    const at::Tensor tensor = at::zeros({3});
    EXPECT_EQ(error_of<PeerLost>([&] { world.pass({tensor}, 1, 0); }),
              "ended because rank 1 of 2 did: no sense");
  });
}

// What is split over ranks is sent while what came before is still under way.
TEST(World, SeveralAreUnderWayAtOnce) {
  as_ranks(2, [](World& world) {
    constexpr std::int64_t kSize = 10'000;
    const at::Tensor first = at::empty({2 * kSize});
    const at::Tensor second = at::empty({2 * kSize});
    const at::Tensor gradient = at::ones({2 * kSize});
    const at::Tensor piece = at::empty({kSize});
    const auto one = world.begin_gather(first, at::full({kSize}, 1.0 + world.rank(), at::kFloat));
    const auto sum = world.begin_scatter_sum(piece, gradient);
    const auto two = world.begin_gather(second, at::full({kSize}, 3.0 + world.rank(), at::kFloat));
    two->wait();
    sum->wait();
    one->wait();
    EXPECT_EQ(first.sum().item<float>(), 3 * kSize);
    EXPECT_EQ(second.sum().item<float>(), 7 * kSize);
    EXPECT_TRUE(at::equal(piece, at::full({kSize}, 2.0F)));
  });
}

TEST(World, RanksOfOneJobHaveOneSettingMoreOrLessAndAreToldWhich) {
  for (const int with : {0, 1}) {
    as_ranks(2, [with](World& world) {
      const char* job = world.rank() == with ? "{lr: 1, mixture: 3 1}" : "{lr: 1}";
      const char* said = with == 0 ? "'mixture' was 3 1 and is not there now"
                                   : "'mixture' was not there and is 3 1 now";
      EXPECT_EQ(error_of<core::ConfigError>(
                    [&] { require_same_job(world, core::parse_yaml(job, "job")); }),
                core::concat("rank 1 has other settings, another model or other data than rank 0: ",
                             said, "; give all ranks the same"));
    });
  }
}

TEST(World, AloneItHasEveryPiece) {
  const at::Tensor all = at::zeros({3});
  alone().begin_gather(all, numbers(5, 3))->wait();
  EXPECT_TRUE(at::equal(all, numbers(5, 3)));
  const at::Tensor piece = at::zeros({3});
  alone().begin_scatter_sum(piece, all)->wait();
  EXPECT_TRUE(at::equal(piece, all));
}

TEST(Board, EachNumberGoesToOneRank) {
  std::mutex mutex;
  std::vector<std::int64_t> taken;
  as_ranks(3, [&](World& world) {
    const auto board = world.board();
    for (int i = 0; i < 50; ++i) {
      const std::int64_t number = board->next();
      const std::lock_guard lock(mutex);
      taken.push_back(number);
    }
    world.barrier();
    EXPECT_EQ(world.board()->next() / 3, 0) << "another board has a counter of its own";
  });
  std::sort(taken.begin(), taken.end());
  std::vector<std::int64_t> all(150);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(taken, all);
}

// The text at `place`, once it has come.
std::string text_at(Board& board, std::int64_t place) {
  while (true) {
    if (const auto text = board.read(place)) return *text;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(Board, EveryRankReadsTheSameTextsInTheSameOrder) {
  constexpr std::int64_t kEach = 20;
  std::mutex mutex;
  std::vector<std::vector<std::string>> read;
  as_ranks(3, [&](World& world) {
    const auto board = world.board();
    EXPECT_EQ(board->read(3 * kEach), std::nullopt);
    for (std::int64_t i = 0; i < kEach; ++i)
      board->post(std::to_string(world.rank()) + "\n" + std::string(1000, 'x'));
    std::vector<std::string> texts;
    for (std::int64_t place = 0; place < 3 * kEach; ++place) {
      texts.push_back(text_at(*board, place));
    }
    EXPECT_EQ(board->read(3 * kEach), std::nullopt);
    const std::lock_guard lock(mutex);
    read.push_back(texts);
  });
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[1], read[0]);
  EXPECT_EQ(read[2], read[0]);
  for (const char rank : {'0', '1', '2'}) {
    EXPECT_EQ(kEach, std::count_if(read[0].begin(), read[0].end(),
                                   [&](const std::string& text) { return text.front() == rank; }));
  }
}

TEST(Board, AFailureOfAnotherRankEndsTheWaiting) {
  as_ranks(2, [&](World& world) {
    const auto board = world.board();
    if (world.rank() == 1) {
      world.fail(core::NumericalError("no sense"));
      return;
    }
    EXPECT_EQ(error_of<PeerLost>([&] { text_at(*board, 0); }),
              "ended because rank 1 of 2 did: no sense");
    EXPECT_THROW(board->next(), PeerLost);
    EXPECT_THROW(board->post("text"), PeerLost);
    EXPECT_THROW(board->read(0), PeerLost);
  });
}

TEST(Board, AloneItCountsAndKeepsTexts) {
  const auto board = alone().board();
  EXPECT_EQ(board->next(), 0);
  EXPECT_EQ(board->next(), 1);
  EXPECT_EQ(board->read(0), std::nullopt);
  board->post("text");
  EXPECT_EQ(board->read(0), "text");
}

}  // namespace
}  // namespace corda::dist
