// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Hostile templates end with a clear error, soon and in bounded memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/jinja/template.h"
#include "support/error_of.h"

namespace corda::jinja {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string failure(const std::string& source, const Limits& limits = {}) {
  return corda::testing::error_of<core::FormatError>([&] {
    Template(source, "evil.jinja").render(Value::dict({}), {.limits = limits, .now = {}});
  });
}

TEST(JinjaLimits, NestedLoops_EndAtTheStepLimit) {
  const auto error = failure(
      "a\n{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor "
      "%}{% endfor %}{% endfor %}");
  EXPECT_THAT(error, StartsWith("evil.jinja:2: "));
  EXPECT_THAT(error, HasSubstr("more than 10000000 steps"));
}

TEST(JinjaLimits, DoublingText_EndsAtTheByteLimit) {
  EXPECT_THAT(failure("{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(99) %}{% set ns.x = "
                      "ns.x ~ ns.x %}{% endfor %}"),
              HasSubstr("more than 67108864 bytes"));
  EXPECT_THAT(failure("{{ 'a' * 1000000000000 }}"), HasSubstr("bytes"));
  EXPECT_THAT(failure("{{ 'ab' * 9223372036854775807 }}"), HasSubstr("too long"));
  EXPECT_THAT(failure("{{ 'a' | center(9000000000000000000) }}"), HasSubstr("bytes"));
  EXPECT_THAT(failure("{{ 'a\nb' | indent(9000000000000000000) }}"), HasSubstr("bytes"));
  EXPECT_THAT(failure("{{ '%999999999d' % 1 }}"), HasSubstr("too large"));
  EXPECT_THAT(failure("{{ [[1]] | tojson(indent=60000000) }}"), HasSubstr("bytes"));
  EXPECT_THAT(
      failure("{% for i in range(9999) %}{{ 'a' * 1000 }}{% endfor %}", {.max_bytes = 1000000}),
      HasSubstr("more than 1000000 bytes"));
}

TEST(JinjaLimits, DoublingLists_EndAtTheStepLimit) {
  EXPECT_THAT(failure("{% set ns = namespace(x=[1, 2]) %}{% for i in range(99) %}{% set ns.x = "
                      "ns.x + ns.x %}{% endfor %}"),
              HasSubstr("steps"));
  EXPECT_THAT(failure("{% set ns = namespace(x=[]) %}{% for i in range(99) %}{% set ns.x = [ns.x, "
                      "ns.x] %}{% endfor %}{{ ns.x }}"),
              HasSubstr("more than"));
}

TEST(JinjaLimits, ReadingLongText_EndsAtTheStepLimit) {
  const std::string texts =
      "{% set a = 'a' * 6000000 %}{% set b = 'a' * 3000000 ~ 'b' %}{% for i in range(99999) %}";
  for (const char* use : {"a | length",         "a.find(b)",   "a.count(b)",      "b in a",
                          "a.replace(b, 'c')",  "a.rfind(b)",  "a.partition(b)",  "a.rsplit(b)",
                          "a == 'a' * 6000000", "{a: 1}[a]",   "a | int",         "a | float",
                          "a is lower",         "a.isalpha()", "a.startswith(a)", "a | wordcount",
                          "[a, a] | sort",      "a[::-1]",     "b.strip(a)",      "b | trim(a)",
                          "a < a ~ 'b'",        "a | title"}) {
    EXPECT_THAT(failure(texts + "{% set x = " + use + " %}{% endfor %}", {.max_steps = 1000000}),
                HasSubstr("1000000 steps"))
        << use;
  }
}

TEST(JinjaLimits, DeepValues_AreRefused) {
  EXPECT_THAT(failure("{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = "
                      "[ns.x] %}{% endfor %}"),
              HasSubstr("nests deeper than 256"));
}

TEST(JinjaLimits, NamespacesThatHoldThemselves_AreFreed) {
  EXPECT_EQ(failure("{% set ns = namespace() %}{% set ns.self = ns %}{% set ns.list = [ns] %}"),
            "no error");
}

TEST(JinjaLimits, EndlessRecursion_IsRefused) {
  EXPECT_THAT(failure("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}"),
              HasSubstr("nests deeper than 1000"));
}

TEST(JinjaLimits, DeepSource_IsRefused) {
  EXPECT_THAT(failure("{{ " + std::string(500, '(') + "1" + std::string(500, ')') + " }}"),
              HasSubstr("too deeply"));
  EXPECT_THAT(failure("{{ " + std::string(100000, '[')), HasSubstr("too deeply"));
  std::string sum = "{{ 1", tags, nots = "{{ ", negatives = "{{ ";
  for (int i = 0; i < 5000; ++i) {
    sum += " + 1";
    tags += "{% if true %}";
    nots += "not ";
    negatives += "- ";
  }
  EXPECT_THAT(failure(sum + " }}"), HasSubstr("too deeply"));
  EXPECT_THAT(failure(tags), HasSubstr("too deeply"));
  EXPECT_THAT(failure(nots + "1 }}"), HasSubstr("too deeply"));
  EXPECT_THAT(failure(negatives + "1 }}"), HasSubstr("too deeply"));
}

TEST(JinjaLimits, RefusedStatements_AreNamed) {
  for (const char* name : {"include", "import", "from", "extends", "block"}) {
    EXPECT_EQ(failure(std::string("x\n{% ") + name + " 'a' %}"),
              std::string("evil.jinja:2: '") + name + "' is not supported in chat templates");
  }
}

TEST(JinjaLimits, Generation_InsideAMacroIsCountedNotPlaced) {
  const auto rendering =
      Template("{% macro m() %}{% generation %}a{% endgeneration %}{% endmacro %}{{ m() }}", "t")
          .render(Value::dict({}));
  EXPECT_EQ(rendering.text, "a");
  EXPECT_TRUE(rendering.generation.empty());
  EXPECT_EQ(rendering.unplaced_generation, 1);
}

}  // namespace
}  // namespace corda::jinja
