// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// YAML as people write it is read as it is meant, or refused with its line.
#include "corda/core/config_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"

namespace corda::core {
namespace {

using ::testing::HasSubstr;

std::string read(const std::string& yaml) { return to_yaml(parse_yaml(yaml, "t.yaml")); }

std::string error_of(const std::string& yaml) {
  try {
    parse_yaml(yaml, "t.yaml");
  } catch (const FormatError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ConfigNode, AMergeKeyTakesOverWhatTheMapDoesNotHave) {
  EXPECT_EQ(read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"),
            "a:\n  x: 1\n  y: 2\nb:\n  y: 3\n  x: 1\n");
  EXPECT_EQ(read("b:\n  y: 3\n  <<: {x: 1, y: 2}\n"), "b:\n  y: 3\n  x: 1\n");
}

TEST(ConfigNode, OfSeveralMergedMapsTheFirstCounts) {
  EXPECT_EQ(read("b: {<<: [{x: 1}, {x: 2, z: 3}]}\n"), "b:\n  x: 1\n  z: 3\n");
}

TEST(ConfigNode, AMergedValueKeepsItsOwnLine) {
  const ConfigNode root = parse_yaml("a: &a\n  x: 1\nb:\n  <<: *a\n", "t.yaml");
  EXPECT_EQ(root.find("b")->find("x")->where, "t.yaml:2");
}

TEST(ConfigNode, AMergeKeyWithoutAMapIsRefused) {
  EXPECT_THAT(error_of("a: 1\nb:\n  <<: c\n"),
              HasSubstr("t.yaml:3: '<<' must be followed by a map"));
  EXPECT_THAT(error_of("b: {<<: [{x: 1}, 2]}\n"), HasSubstr("'<<' must be followed by a map"));
  EXPECT_THAT(error_of("b:\n  <<: {x: 1}\n  <<: {y: 1}\n"),
              HasSubstr("t.yaml:3: the key '<<' stands twice"));
}

TEST(ConfigNode, AKeyThatIsAWordOfYamlIsToBeQuoted) {
  EXPECT_THAT(
      error_of("methods:\n  lora: {}\n  null: {a: 1}\n"),
      HasSubstr("t.yaml:3: a key must be a plain word; a word of YAML's own goes in quotes, "
                "\"null\""));
  EXPECT_EQ(read("\"null\": 1\n"), "\"null\": 1\n");
}

TEST(ConfigNode, ATabIsRefusedWithItsLine) {
  EXPECT_THAT(error_of("a: 1\noptim:\n\tlr: 1\n"), HasSubstr("t.yaml:3: not valid YAML"));
}

TEST(ConfigNode, ALeafThatIsGoneIsADifferenceWhereNothingElseIs) {
  const auto found = [](const char* saved, const char* now) {
    return differences(parse_yaml(saved, "saved"), parse_yaml(now, "now"), {"follows"});
  };
  EXPECT_THAT(found("a: {b: 1, c: 2}", "a: {b: 1}"),
              ::testing::ElementsAre("'a.c' was 2 and is not there now"));
  EXPECT_THAT(found("{a: 1, b: 2}", "{a: 3, c: 4}"),
              ::testing::ElementsAre("'a' was 1 and is 3 now", "'c' was not there and is 4 now"));
  EXPECT_THAT(found("{follows: 1, b: 2}", "{follows: 3}"),
              ::testing::ElementsAre("'follows' was 1 and is 3 now"));
  EXPECT_THAT(found("{a: 1}", "{a: 1}"), ::testing::IsEmpty());
}

TEST(ConfigNode, WindowsLineEndsAndAByteOrderMarkChangeNothing) {
  EXPECT_EQ(read("\xEF\xBB\xBFmodel: a\r\noptim:\r\n  lr: 1e-4\r\n"),
            "model: a\noptim:\n  lr: 1e-4\n");
}

TEST(ConfigNode, AliasesOfAliasesDoNotFillTheMemory) {
  std::string yaml = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    yaml += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 8; ++j) yaml += before + (j < 7 ? ", " : "]\n");
  }
  EXPECT_THAT(error_of(yaml), HasSubstr("more than 100000 values"));
}

TEST(ConfigNode, AMapThatHoldsItselfIsRefused) {
  EXPECT_THAT(error_of("a: &a {b: *a}\n"), HasSubstr("t.yaml"));
}

}  // namespace
}  // namespace corda::core
