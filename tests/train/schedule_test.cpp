// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/schedule.h"

#include <gtest/gtest.h>

namespace corda::train {
namespace {

TEST(Schedule, WarmsUpLinearlyFromZero) {
  for (const char* name : {"cosine", "linear", "constant"}) {
    EXPECT_DOUBLE_EQ(learning_rate(name, 2.0, 0, 4, 100), 0.0) << name;
    EXPECT_DOUBLE_EQ(learning_rate(name, 2.0, 1, 4, 100), 0.5) << name;
    EXPECT_DOUBLE_EQ(learning_rate(name, 2.0, 4, 4, 100), 2.0) << name;
  }
}

TEST(Schedule, FallsOverTheStepsAfterTheWarmUp) {
  EXPECT_DOUBLE_EQ(learning_rate("cosine", 1.0, 60, 20, 100), 0.5);
  EXPECT_NEAR(learning_rate("cosine", 1.0, 40, 20, 100), 0.85355339059327373,
              1e-15);  // (1 + cos(pi/4)) / 2
  EXPECT_DOUBLE_EQ(learning_rate("linear", 1.0, 40, 20, 100), 0.75);
  EXPECT_DOUBLE_EQ(learning_rate("constant", 1.0, 99, 20, 100), 1.0);
}

TEST(Schedule, NeverRisesPastTheEnd) {
  for (const std::int64_t step : {100, 101, 150, 1000}) {
    EXPECT_DOUBLE_EQ(learning_rate("cosine", 1.0, step, 0, 100), 0.0) << step;
    EXPECT_DOUBLE_EQ(learning_rate("linear", 1.0, step, 0, 100), 0.0) << step;
  }
}

TEST(Schedule, WithoutWarmUpStartsAtThePeak) {
  EXPECT_DOUBLE_EQ(learning_rate("cosine", 3e-4, 0, 0, 10), 3e-4);
}

// The rates begin with the warm-up's zero, and fall: 0, 1, 2, 2 (1 + cos(pi / 4)) / 2...
TEST(Schedule, TheSumOfTheRatesIsThatOfEveryStep) {
  EXPECT_DOUBLE_EQ(rate_sum("constant", 2.0, 2, 6), 0 + 1 + 2 + 2 + 2 + 2);
  EXPECT_DOUBLE_EQ(rate_sum("linear", 2.0, 2, 6), 0 + 1 + 2 + 1.5 + 1 + 0.5);
  EXPECT_NEAR(rate_sum("cosine", 2.0, 2, 6),
              0 + 1 + 2 + 1.7071067811865475 + 1 + 0.2928932188134525, 1e-12);
  EXPECT_EQ(rate_sum("cosine", 2.0, 1, 1), 0);
}

}  // namespace
}  // namespace corda::train
