// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/parallel.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <future>
#include <numeric>
#include <string>
#include <vector>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::core {
namespace {

using corda::testing::error_of;

TEST(ParallelFor, DoesEveryPieceOnceWhateverTheThreadsAndRuns) {
  for (const std::int64_t threads : {1, 2, 4, 9}) {
    for (const std::int64_t run : {1, 3, 100}) {
      std::vector<int> done(37);
      parallel_for(37, threads, run, [&](std::int64_t i) { ++done[static_cast<std::size_t>(i)]; });
      EXPECT_EQ(done, std::vector<int>(37, 1)) << threads << " threads, runs of " << run;
    }
  }
  parallel_for(0, 4, 1, [](std::int64_t) { FAIL() << "there is no piece"; });
}

TEST(ParallelFor, ThrowsTheErrorOfTheFirstPieceThatFails) {
  for (int round = 0; round < 50; ++round) {
    EXPECT_EQ(error_of<FormatError>([] {
                parallel_for(64, 4, 1, [](std::int64_t i) {
                  if (i >= 5) throw FormatError("piece " + std::to_string(i));
                });
              }),
              "piece 5");
  }
  EXPECT_EQ(error_of<ConfigError>([] { parallel_for(1, 0, 1, [](std::int64_t) {}); }),
            "expected at least 1 thread; received 0");
}

// How a GPU's uploads are read: threads fill one buffer part by part on another thread, which hands
// it over through a future while the next buffer is filled.
TEST(ParallelFor, FillsABufferThatAnotherThreadHandsOver) {
  constexpr std::int64_t kParts = 4;
  constexpr std::size_t kPart = 4096;
  const auto filled = [](unsigned char first) {
    return std::async(std::launch::async, [first] {
      std::vector<unsigned char> buffer(kParts * kPart);
      parallel_for(kParts, kParts, 1, [&](std::int64_t i) {
        std::memset(buffer.data() + static_cast<std::size_t>(i) * kPart,
                    first + static_cast<int>(i), kPart);
      });
      return buffer;
    });
  };
  auto one = filled(1);
  auto other = filled(101);
  const auto sum_of = [](const std::vector<unsigned char>& buffer) {
    return std::accumulate(buffer.begin(), buffer.end(), std::int64_t{0});
  };
  EXPECT_EQ(sum_of(one.get()), (1 + 2 + 3 + 4) * 4096);
  EXPECT_EQ(sum_of(other.get()), (101 + 102 + 103 + 104) * 4096);
}

}  // namespace
}  // namespace corda::core
