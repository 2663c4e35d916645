// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/text.h"

#include <gtest/gtest.h>

namespace corda::core {
namespace {

std::vector<std::string> numbered(const std::string& before, int count, const std::string& after) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(before + std::to_string(i) + after);
  return names;
}

TEST(Listed, TenPartsAreAllSaid) {
  EXPECT_EQ(listed({}), "");
  EXPECT_EQ(listed({"a"}), "a");
  EXPECT_EQ(listed({"a", "b"}, "; "), "a; b");
  EXPECT_EQ(listed(numbered("", 10, "")), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
}

TEST(Listed, OfMoreThanTenTheFirstEightAndTheCountOfTheOthers) {
  EXPECT_EQ(listed(numbered("", 11, "")), "0, 1, 2, 3, 4, 5, 6, 7 and 3 more");
  EXPECT_EQ(listed(numbered("", 220, ""), "; "), "0; 1; 2; 3; 4; 5; 6; 7 and 212 more");
}

TEST(Listed, ALongPartIsCutBetweenCharacters) {
  EXPECT_EQ(listed({std::string(200, 'x')}), std::string(200, 'x'));
  EXPECT_EQ(listed({std::string(201, 'x'), "y"}), std::string(200, 'x') + "..., y");
  EXPECT_EQ(listed({std::string(199, 'x') + "\xC3\xA9" + "x"}), std::string(199, 'x') + "...");
  EXPECT_EQ(listed(numbered(std::string(100'000, 'x'), 1000, "")).size(), 8 * 203 + 7 * 2 + 13);
}

TEST(ListedNames, EachStandsInQuotes) { EXPECT_EQ(listed_names({"a.b", "a.c"}), "'a.b', 'a.c'"); }

TEST(ListedNames, OfMoreThanTenItIsSaidWhatAllBeginWith) {
  EXPECT_EQ(listed_names(numbered("model.layers.", 12, ".q")),
            "'model.layers.0.q', 'model.layers.1.q', 'model.layers.2.q', 'model.layers.3.q', "
            "'model.layers.4.q', 'model.layers.5.q', 'model.layers.6.q', 'model.layers.7.q' and 4 "
            "more (all begin with 'model.layers.')");
}

TEST(ListedNames, ABeginningWithoutADotIsNotWorthASentence) {
  EXPECT_EQ(listed_names(numbered("w", 11, "")),
            "'w0', 'w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7' and 3 more");
  std::vector<std::string> names = numbered("model.", 11, "");
  names.push_back("lm_head.weight");
  EXPECT_EQ(listed_names(names).find("all begin"), std::string::npos);
}

TEST(ListedNames, NoNameIsLongerThanItsBeginning) {
  EXPECT_EQ(listed_names({std::string(100'000, 'x')}), "'" + std::string(200, 'x') + "...'");
  EXPECT_LT(listed_names(numbered(std::string(100'000, 'x') + ".", 20, "")).size(), 2100U);
}

TEST(Capped, AMessageEndsWithWhatIsLeftOut) {
  EXPECT_EQ(capped("short"), "short");
  EXPECT_EQ(capped(std::string(3000, 'x')), std::string(3000, 'x'));
  EXPECT_EQ(capped(std::string(3007, 'x')), std::string(3000, 'x') + "... (7 more bytes)");
  EXPECT_EQ(capped(std::string(2999, 'x') + "\xC3\xA9"),
            std::string(2999, 'x') + "... (2 more bytes)");
}

}  // namespace
}  // namespace corda::core
