// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "core/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::core {
namespace {

using ::testing::ElementsAre;

// What reading a member of {"k": value} says.
template <typename Read>
std::string refusal(const char* json, const Read& read) {
  const Json object = parse_json(json, "test");
  return testing::error_of<FormatError>([&] { read(Fields(object, "x")); });
}

TEST(FieldsTest, MembersOfTheRightTypeAreRead) {
  const Json object = parse_json(
      R"({"t": "a", "b": true, "n": 1.5, "i": -3, "l": ["a", "b"], "o": {"t": "c"}, "z": null})",
      "test");
  const Fields fields(object, "x");
  EXPECT_EQ(fields.text("t"), "a");
  EXPECT_TRUE(fields.boolean("b"));
  EXPECT_EQ(fields.number("n"), 1.5);
  EXPECT_EQ(fields.integer("i"), -3);
  EXPECT_THAT(fields.texts("l"), ElementsAre("a", "b"));
  EXPECT_EQ(Fields(fields.object("o"), "y").text("t"), "c");
  EXPECT_TRUE(fields.has("t"));
  EXPECT_FALSE(fields.has("z")) << "null is as good as absent";
  EXPECT_FALSE(fields.has("none"));
}

TEST(FieldsTest, OtherTypesAreNamed) {
  const auto text = [](const Fields& f) { f.text("k"); };
  const auto boolean = [](const Fields& f) { f.boolean("k"); };
  const auto number = [](const Fields& f) { f.number("k"); };
  const auto integer = [](const Fields& f) { f.integer("k"); };
  const auto small = [](const Fields& f) { f.integer("k", 1, 9); };
  const auto texts = [](const Fields& f) { f.texts("k"); };
  const auto object = [](const Fields& f) { f.object("k"); };
  EXPECT_EQ(refusal("{}", text), "x: the key 'k' is missing");
  EXPECT_EQ(refusal(R"({"k": 5})", text), "x: 'k' must be text; it is 5");
  EXPECT_EQ(refusal(R"({"k": 1})", boolean), "x: 'k' must be true or false; it is 1");
  EXPECT_EQ(refusal(R"({"k": "1"})", number), "x: 'k' must be a number; it is \"1\"");
  EXPECT_EQ(refusal(R"({"k": 1.0})", integer), "x: 'k' must be a whole number; it is 1.0");
  EXPECT_EQ(refusal(R"({"k": 9223372036854775808})", integer),
            "x: 'k' must be a whole number; it is 9223372036854775808");
  EXPECT_EQ(refusal(R"({"k": 10})", small), "x: 'k' must be a whole number from 1 to 9; it is 10");
  EXPECT_EQ(refusal(R"({"k": ["a", 1]})", texts),
            "x: 'k' must be a list of texts; it is [\"a\",1]");
  EXPECT_EQ(refusal(R"({"k": []})", object), "x: 'k' must be a JSON object; it is []");
  EXPECT_EQ(refusal("[]", text), "x: must be a JSON object");
}

TEST(FieldsTest, ALongValueIsCut) {
  const Json object = {{"k", std::string(500, 'a')}};
  EXPECT_EQ(testing::error_of<FormatError>([&] { Fields(object, "x").number("k"); }),
            "x: 'k' must be a number; it is \"" + std::string(79, 'a') + "...");
}

}  // namespace
}  // namespace corda::core
