// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <regex>
#include <tuple>

#include "report/document.h"
#include "report/well_formed.h"

namespace corda::report {
namespace {

using corda::testing::elements_of;
using ::testing::HasSubstr;
using ::testing::Not;

Series points(const std::vector<double>& values) {
  Series series;
  for (const double y : values) series.add(static_cast<double>(series.size() + 1), y);
  return series;
}

Chart chart_of(const std::vector<double>& values) {
  return {.title = "t",
          .x_label = "x",
          .y_label = "y",
          .lines = {{.label = "run", .points = points(values)}}};
}

TEST(Svg, ALineGoesThroughItsPointsOnTheScaleOfItsTicks) {
  const std::string svg = to_svg(chart_of({0, 1, 0.5}));
  // x from 58 to 426, y from 234 (0.0) to 16 (1.0).
  EXPECT_THAT(svg, HasSubstr("d=\"M58.0 234.0L242.0 16.0L426.0 125.0\""));
  EXPECT_EQ(elements_of(svg).error, "");
}

TEST(Svg, AValueThatIsNotFiniteIsAGapWithACross) {
  const std::string svg = to_svg(chart_of({0, 1, std::nan(""), 1, 0}));
  EXPECT_THAT(svg, HasSubstr("d=\"M58.0 234.0L150.0 16.0M334.0 16.0L426.0 234.0\""));
  EXPECT_THAT(svg, HasSubstr("run: not finite at 3"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_EQ(elements_of(svg).error, "");
}

TEST(Svg, AValueBetweenGapsIsADot) {
  const auto elements = elements_of(to_svg(chart_of({1, std::nan(""), 2, std::nan(""), 3})));
  EXPECT_EQ(elements.error, "");
  EXPECT_EQ(elements.count.at("circle"), 3);
}

TEST(Svg, TheJudgeOfXmlRefusesWhatIsNone) {
  EXPECT_THAT(elements_of("<svg><a></svg>").error, HasSubstr("mismatched tag"));
}

TEST(Svg, NothingFiniteAndNothingAtAllAreCharts) {
  for (const auto& values : {std::vector<double>{}, {std::nan(""), INFINITY}}) {
    const std::string svg = to_svg(chart_of(values));
    EXPECT_EQ(elements_of(svg).error, "");
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(Svg, LogarithmicNeedsValuesAboveZero) {
  Chart chart = chart_of({1, 1000});
  chart.logarithmic = true;
  EXPECT_THAT(to_svg(chart), HasSubstr(">100</text>"));
  chart.lines[0].points.y[0] = 0;
  EXPECT_THAT(to_svg(chart), HasSubstr(">200</text>"));
}

TEST(Svg, NamesAreEscaped) {
  Chart chart = chart_of({1, 2});
  chart.title = "a \"<&>'";
  chart.lines[0].label = "</title><script>";
  chart.levels = {{.label = "<b>&", .y = 1.5}};
  const std::string svg = to_svg(chart);
  EXPECT_EQ(elements_of(svg).error, "");
  EXPECT_THAT(svg, HasSubstr("<title>&lt;/title&gt;&lt;script&gt;</title>"));
}

TEST(Svg, WhatXmlCannotHoldBecomesAReplacementCharacter) {
  EXPECT_EQ(xml_text("a\x01"
                     "b"),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(xml_text("\xFF"
                     "caf\xC3\xA9"),
            "\xEF\xBF\xBD"
            "caf\xC3\xA9");
  EXPECT_EQ(xml_text("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(xml_text("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong
  EXPECT_EQ(xml_text("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
  EXPECT_EQ(xml_text("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD");  // cut off
  EXPECT_EQ(xml_text("a\r\n\tb"), "a\xEF\xBF\xBD\n\tb");
}

// Of DejaVu Sans, the widest font that a page may get, in 2048ths of its size.
double width_of(const std::string& text) {
  static const std::map<char, int> advances = {{'.', 651},  {'-', 739},  {'e', 1260}, {'+', 1716},
                                               {'k', 1186}, {'M', 1767}, {'G', 1587}};
  double width = 0;
  for (const char letter : text) {
    const bool digit = letter >= '0' && letter <= '9';
    EXPECT_TRUE(digit || advances.contains(letter)) << letter;
    width += 13 * (digit ? 1303 : advances.at(letter)) / 2048.0;
  }
  return width;
}

// Upright text has its descent, 483 / 2048 of its size, to the right of the line it stands on.
TEST(Svg, TheWordOfTheYAxisLiesOnNoTick) {
  const double word_ends = 12 + 13 * 483 / 2048.0;
  // One of the numbers, and where the plot begins (0: not looked at): charts with short numbers
  // begin at one place.
  const std::vector<std::tuple<std::vector<double>, std::string, double>> cases = {
      {{0, 1}, "0.2", 58},
      {{0, 1e-3}, "0.0010", 73.7},
      {{-9.4e-4, -9.1e-4}, "-0.00094", 95.0},
      {{3e-9, 4e-9}, "3.2e-09", 0},
      {{1e-30, 1e300}, "2e+299", 0},
      {{0, 5e14}, "500000G", 0}};
  const std::regex tick("<text class=\"end\" x=\"([0-9.]+)\" y=\"[0-9.]+\">([^<]*)</text>");
  for (const auto& [values, number, begins] : cases) {
    const std::string svg = to_svg(chart_of(values));
    EXPECT_THAT(svg, HasSubstr("transform=\"rotate(-90 12.0 125.0)\">y</text>"));
    EXPECT_THAT(svg, HasSubstr(">" + number + "</text>"));
    std::size_t ticks = 0;
    for (auto at = std::sregex_iterator(svg.begin(), svg.end(), tick); at != std::sregex_iterator();
         ++at, ++ticks)
      EXPECT_GT(std::stod((*at)[1]) - width_of((*at)[2]), word_ends) << (*at)[2];
    EXPECT_GE(ticks, 2U) << number;
    std::smatch axis;
    ASSERT_TRUE(std::regex_search(svg, axis, std::regex("class=\"axis\" x1=\"([0-9.]+)\"")));
    if (begins > 0) {
      EXPECT_NEAR(std::stod(axis[1]), begins, 0.05) << number;
    }
    EXPECT_THAT(svg, HasSubstr("d=\"M" + axis[1].str() + " "));
  }
}

TEST(Svg, TheNinthLineHasTheFirstColourAndAnotherDash) {
  EXPECT_THAT(to_svg(Ink{.number = 0}), HasSubstr("class=\"line c0\""));
  EXPECT_THAT(to_svg(Ink{.number = 8}), HasSubstr("class=\"line c0 d1\""));
}

}  // namespace
}  // namespace corda::report
