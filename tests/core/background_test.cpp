// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/background.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <vector>

#include "corda/core/error.h"

namespace corda::core {
namespace {

TEST(Background, PiecesAreDoneInOrder) {
  std::vector<int> done;
  Background background(/*waiting=*/3);
  for (int i = 0; i < 100; ++i) background.add([&done, i] { done.push_back(i); });
  background.finish();
  ASSERT_EQ(done.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[static_cast<std::size_t>(i)], i);
}

TEST(Background, AnErrorIsThrownByFinishAndByEveryLaterCall) {
  std::atomic<int> done = 0;
  std::promise<void> begin;
  Background background(/*waiting=*/2);
  background.add([&] {
    begin.get_future().wait();
    throw ResourceError("the disk is full");
  });
  background.add([&] { ++done; });
  begin.set_value();
  EXPECT_THROW(background.finish(), ResourceError);
  EXPECT_THROW(background.add([&] { ++done; }), ResourceError);
  EXPECT_THROW(background.wait_for_room(), ResourceError);
  EXPECT_THROW(background.finish(), ResourceError);
  EXPECT_EQ(done, 0) << "what follows an error is dropped";
}

TEST(Background, AddWaitsWhereEnoughIsWaiting) {
  using namespace std::chrono_literals;
  for (const std::size_t waiting : {std::size_t{0}, std::size_t{2}}) {
    std::promise<void> release;
    Background background(waiting);
    background.add([&] { release.get_future().wait(); });
    for (std::size_t i = 0; i < waiting; ++i) background.add([] {});
    auto more = std::async(std::launch::async, [&] { background.add([] {}); });
    EXPECT_EQ(more.wait_for(50ms), std::future_status::timeout) << waiting;
    release.set_value();
    more.get();
    background.finish();
  }
}

TEST(Background, TheDestructorWaitsForAllPieces) {
  std::atomic<int> done = 0;
  {
    Background background(/*waiting=*/4);
    for (int i = 0; i < 5; ++i) background.add([&] { ++done; });
  }
  EXPECT_EQ(done, 5);
}

}  // namespace
}  // namespace corda::core
