// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A seed means the same numbers for ever: literal sequences.
#include "corda/core/random.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"

namespace corda::core {
namespace {

using ::testing::ElementsAre;

// The sequence that implementations of xoshiro256** test themselves with.
TEST(RandomTest, Next_IsXoshiro256StarStar) {
  Random random(Random::State{1, 2, 3, 4});
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 8; ++i) values.push_back(random.next());
  EXPECT_THAT(values,
              ElementsAre(11520U, 0U, 1509978240U, 1215971899390074240U, 1216172134540287360U,
                          607988272756665600U, 16172922978634559625U, 8476171486693032832U));
}

// The sequence that implementations of splitmix64 test themselves with.
TEST(RandomTest, Seed_FillsTheStateWithSplitmix64) {
  EXPECT_THAT(Random(1234567).state(), ElementsAre(6457827717110365317U, 3203168211198807973U,
                                                   9817491932198370423U, 4593380528125082431U));
}

// From here on the literals come from a second implementation of the same definitions in Python.
TEST(RandomTest, Draws_OfSeed42) {
  Random random(42);
  std::vector<std::uint64_t> digits;
  for (int i = 0; i < 12; ++i) digits.push_back(random.below(10));
  EXPECT_THAT(digits, ElementsAre(0, 3, 6, 9, 9, 7, 7, 8, 7, 5, 6, 2));
  EXPECT_EQ(random.below(std::uint64_t{3} << 62), 11082217660002669832U);
  EXPECT_EQ(random.uniform(), 0.3214116333153503);
  EXPECT_EQ(random.uniform(), 0.7111499449118543);
}

TEST(RandomTest, Shuffle_OfSeed42) {
  Random random(42);
  std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7};
  shuffle(values, random);
  EXPECT_THAT(values, ElementsAre(7, 1, 6, 3, 5, 4, 2, 0));
}

TEST(RandomTest, DerivedSeeds_OfSeed42) {
  EXPECT_EQ(derive_seed(42, 1), 0xc1a01e77fde6572dU);
  EXPECT_EQ(derive_seed(42, 2), 0x7099f28e4594926aU);
}

TEST(RandomTest, SavedState_ContinuesTheSequence) {
  Random random(7);
  random.next();
  Random copy(random.state());
  EXPECT_EQ(copy.next(), random.next());
}

TEST(RandomTest, Below_RefusesZero) { EXPECT_THROW(Random(1).below(0), InternalError); }

}  // namespace
}  // namespace corda::core
