// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Each feature of the language renders as transformers renders it.
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "golden.h"

namespace corda::jinja {
namespace {

TEST(JinjaFeatures, EveryCaseMatchesTransformers) {
  const auto file = golden("features.json");
  const Value variables = from_json(file["variables"]);
  const auto options = golden_options();
  int compared = 0;
  for (const auto& row : file["cases"]) {
    SCOPED_TRACE(row["name"].get<std::string>() + ": " + row["template"].get<std::string>());
    ++compared;
    try {
      const auto rendering =
          Template(row["template"].get<std::string>(), "t").render(variables, options);
      ASSERT_FALSE(row.contains("error"))
          << "expected " << row["error"] << ", got: " << rendering.text;
      EXPECT_EQ(rendering.text, row["text"].get<std::string>());
      if (row.contains("generation")) {
        const auto spans = core::parse_json(spans_in_code_points(rendering), "spans");
        EXPECT_EQ(spans, row["generation"]);
      }
    } catch (const core::FormatError& error) {
      EXPECT_TRUE(row.contains("error")) << error.what();
      if (row.value("raised", false)) {
        EXPECT_EQ(std::string(error.what()), "t:2: " + row["error"].get<std::string>());
      }
    }
  }
  EXPECT_EQ(compared, 88);
}

}  // namespace
}  // namespace corda::jinja
