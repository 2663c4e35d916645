// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "report/series.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace corda::report {
namespace {

using ::testing::ElementsAre;

Series wave(std::size_t count) {
  Series series;
  for (std::size_t i = 0; i < count; ++i)
    series.add(static_cast<double>(i), std::sin(static_cast<double>(i) * 0.37));
  return series;
}

TEST(Series, ThinnedKeepsEveryColumnsFirstLastLowestAndHighest) {
  Series series;
  for (const double y : {5., 1., 9., 4., 3., 2., 8., 7.})
    series.add(static_cast<double>(series.size()), y);
  // More than four points a column are needed before anything is left out.
  EXPECT_EQ(thinned(series, 2).size(), 8U);
  const Series kept = thinned(series, 1);
  EXPECT_THAT(kept.x, ElementsAre(0, 1, 2, 7));
  EXPECT_THAT(kept.y, ElementsAre(5, 1, 9, 7));
}

TEST(Series, ASpikeAndAGapAmong100000StepsAreStillThere) {
  Series series = wave(100000);
  series.y[54321] = 1000;
  series.y[12345] = -1000;
  series.y[77777] = std::nan("");
  const Series kept = thinned(series, 300);
  EXPECT_LE(kept.size(), 4 * 300U + 1);
  EXPECT_GE(kept.size(), 3 * 300U);
  EXPECT_TRUE(std::is_sorted(kept.x.begin(), kept.x.end()));
  EXPECT_EQ(std::count(kept.y.begin(), kept.y.end(), 1000.), 1);
  EXPECT_EQ(std::count(kept.y.begin(), kept.y.end(), -1000.), 1);
  EXPECT_EQ(kept.x.front(), 0);
  EXPECT_EQ(kept.x.back(), 99999);
  const auto gap =
      std::find_if(kept.y.begin(), kept.y.end(), [](double y) { return std::isnan(y); });
  ASSERT_NE(gap, kept.y.end());
  EXPECT_EQ(kept.x[static_cast<std::size_t>(gap - kept.y.begin())], 77777);
}

TEST(Series, TheRunningMeanIsOfTheFiniteValuesAround) {
  Series series;
  for (const double y : {1., 2., std::nan(""), 6., 8.})
    series.add(static_cast<double>(series.size()), y);
  const Series mean = running_mean(series, 3);
  EXPECT_THAT(mean.x, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(mean.y, ElementsAre(1.5, 1.5, 4, 7, 7));
}

TEST(Series, WhereNoValueIsFiniteThereIsNoMean) {
  Series series;
  for (int i = 0; i < 3; ++i) series.add(i, std::nan(""));
  EXPECT_TRUE(std::isnan(running_mean(series, 2).y[1]));
}

}  // namespace
}  // namespace corda::report
