// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "core/round_up.h"

#include <gtest/gtest.h>

namespace corda::core {
namespace {

TEST(RoundUp, IsTheNextMultiple) {
  EXPECT_EQ(round_up(0, 8), 0);
  EXPECT_EQ(round_up(1, 8), 8);
  EXPECT_EQ(round_up(8, 8), 8);
  EXPECT_EQ(round_up(9, 8), 16);
}

TEST(SizeClass, SizesOfOneClassDifferByLessThanAnEighth) {
  EXPECT_EQ(size_class(0), 0);
  EXPECT_EQ(size_class(15), 15);
  EXPECT_EQ(size_class(17), 18);
  EXPECT_EQ(size_class(8192), 8192);
  EXPECT_EQ(size_class(7681), 8192);
  EXPECT_EQ(size_class(7680), 7680);
  for (std::int64_t size = 1; size < 40000; ++size) {
    ASSERT_GE(size_class(size), size);
    ASSERT_LT(8 * (size_class(size) - size), size) << size;
    ASSERT_EQ(size_class(size_class(size)), size_class(size)) << size;
  }
}

}  // namespace
}  // namespace corda::core
