// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What ranks do together, over Gloo: each rank a thread of this process.
#include "corda/dist/world.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <thread>
#include <vector>

#include "corda/core/reporter.h"
#include "support/temporary_directory.h"

namespace corda::dist {
namespace {

// Runs `work` as every one of `size` ranks.
void as_ranks(int size, const std::function<void(World& world)>& work) {
  ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/1);  // before the threads, which would
  const testing::TemporaryDirectory folder;
  const std::string file = (folder.path() / "meeting").string();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const core::Reporter quiet;
      const auto world = join(
          {.launcher = "a test", .rank = rank, .size = size, .file = file, .start = "one"}, quiet);
      work(*world);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

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

TEST(World, AloneItHasEveryPiece) {
  const at::Tensor all = at::zeros({3});
  alone().begin_gather(all, numbers(5, 3))->wait();
  EXPECT_TRUE(at::equal(all, numbers(5, 3)));
  const at::Tensor piece = at::zeros({3});
  alone().begin_scatter_sum(piece, all)->wait();
  EXPECT_TRUE(at::equal(piece, all));
}

}  // namespace
}  // namespace corda::dist
