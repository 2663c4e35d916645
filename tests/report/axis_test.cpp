// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/axis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace corda::report {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> texts(const Axis& axis) {
  std::vector<std::string> all;
  for (const Tick& tick : axis.ticks()) all.push_back(tick.text);
  return all;
}

TEST(Axis, TicksAreRoundAndHaveTheDecimalsOfTheirStep) {
  EXPECT_THAT(texts(Axis(0, 1, false, true)),
              ElementsAre("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(texts(Axis(1.71, 2.14, false, true)),
              ElementsAre("1.7", "1.8", "1.9", "2.0", "2.1", "2.2"));
  EXPECT_THAT(texts(Axis(1, 234, false, false)), ElementsAre("50", "100", "150", "200"));
  EXPECT_THAT(texts(Axis(0, 23456, false, true)),
              ElementsAre("0", "5000", "10k", "15k", "20k", "25k"));
  EXPECT_THAT(texts(Axis(0, 4e-4, false, true)),
              ElementsAre("0.0000", "0.0001", "0.0002", "0.0003", "0.0004"));
}

TEST(Axis, CountsHaveTicksAtWholeNumbersOnly) {
  EXPECT_THAT(texts(Axis(0, 3, false, false, 1)), ElementsAre("0", "1", "2", "3"));
  EXPECT_THAT(texts(Axis(0, 31, false, false, 1)), ElementsAre("0", "10", "20", "30"));
}

TEST(Axis, PlacesRunFromTheLowToTheHighEnd) {
  const Axis axis(1.71, 2.14, false, true);
  EXPECT_NEAR(axis.place(1.7), 0, 1e-12);
  EXPECT_NEAR(axis.place(2.2), 1, 1e-12);
  EXPECT_NEAR(axis.place(1.95), 0.5, 1e-12);
}

TEST(Axis, DecadesAreAsFarApartAsEachOther) {
  const Axis axis(0.003, 20, true, true);
  EXPECT_THAT(texts(axis), ElementsAre("0.001", "0.01", "0.1", "1", "10", "100"));
  EXPECT_NEAR(axis.place(0.01), 0.2, 1e-12);
  EXPECT_NEAR(axis.place(10), 0.8, 1e-12);
}

TEST(Axis, OneValueAloneStandsInTheMiddle) {
  for (const double value : {3., 0., -7.}) {
    const Axis axis(value, value, false, false);
    EXPECT_NEAR(axis.place(value), 0.5, 1e-12) << value;
    EXPECT_GE(axis.ticks().size(), 2U) << value;
  }
  EXPECT_EQ(Axis(1e-30, 1e-30, true, true).ticks().size(), 2U);
}

}  // namespace
}  // namespace corda::report
