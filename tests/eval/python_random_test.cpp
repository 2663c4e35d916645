// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Draws of CPython 3.11's random.Random.
#include "eval/python_random.h"

#include <gtest/gtest.h>

namespace corda::eval {
namespace {

using Places = std::vector<std::size_t>;

TEST(PythonRandom, WordsAreMersenneTwistersFromASeedOfOneWord) {
  PythonRandom random(1234);
  EXPECT_EQ(random.next(), 4150886329U);
  EXPECT_EQ(random.next(), 3342196574U);
  EXPECT_EQ(random.next(), 1892932127U);
}

TEST(PythonRandom, SamplesAreThoseOfPython) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(7473, 5), (Places{6374, 3610, 957, 61, 742}));
  EXPECT_EQ(random.sample(7473, 5), (Places{7462, 6610, 4769, 286, 5501}));
  PythonRandom other(1234);
  EXPECT_EQ(other.sample(39905, 11),
            (Places{28883, 7657, 490, 5940, 38156, 2288, 5500, 6450, 23241, 15519, 1142}));
}

TEST(PythonRandom, SmallPoolsAreListed) {
  PythonRandom random(1234);
  EXPECT_EQ(random.sample(84, 6), (Places{56, 14, 0, 11, 74, 4}));
  EXPECT_EQ(random.sample(85, 6), (Places{10, 12, 45, 30, 2, 3}));
  EXPECT_EQ(random.sample(86, 6), (Places{2, 44, 82, 79, 61, 78}));
  PythonRandom all(7);
  EXPECT_EQ(all.sample(3, 3), (Places{1, 0, 2}));
}

}  // namespace
}  // namespace corda::eval
