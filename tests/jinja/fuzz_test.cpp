// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Damaged templates end in a rendering or a FormatError, within their limits. CORDA_FUZZ_ROUNDS
// sets how many are tried.
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/random.h"
#include "golden.h"
#include "support/fuzz_rounds.h"

namespace corda::jinja {
namespace {

std::string damaged(std::string text, const std::string& other, core::Random& random) {
  const auto place = [&](const std::string& in) {
    return static_cast<std::size_t>(random.below(in.size() + 1));
  };
  for (std::uint64_t i = 0; i <= random.below(4); ++i) {
    const std::size_t at = place(text);
    switch (random.below(5)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, random.below(12));
        break;
      case 2:
        text.insert(at, other.substr(place(other), random.below(24)));
        break;
      case 3:
        text.insert(at, text.substr(place(text), random.below(24)));
        break;
      default: {
        static constexpr const char* kParts[] = {
            "{{", "}}",          "{%",         "%}", "(", ")", "[",    "]",      "|",   "-",
            ".",  "99999999999", " * 9999999", "**", "~", "'", "loop", "[::-1]", "%}{%"};
        text.insert(at, kParts[random.below(std::size(kParts))]);
      }
    }
  }
  return text;
}

TEST(Fuzz, DamagedTemplatesRenderOrFailCleanly) {
  const int rounds = testing::fuzz_rounds(4000);
  const auto file = golden("features.json");
  const Value variables = from_json(file["variables"], 7);
  std::vector<std::string> sources;
  for (const auto& row : file["cases"]) sources.push_back(row["template"].get<std::string>());
  RenderOptions options = golden_options();
  options.limits = {.max_depth = 200, .max_steps = 200'000, .max_bytes = 1 << 20};
  core::Random random(20240726);
  int rendered = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto& source = sources[random.below(sources.size())];
    const std::string text = damaged(source, sources[random.below(sources.size())], random);
    try {
      const Rendering rendering = Template(text, "t").render(variables, options);
      std::int64_t at = 0;
      for (const auto& span : rendering.sources) {
        ASSERT_LE(at, span.begin) << text;
        ASSERT_LT(span.begin, span.end) << text;
        at = span.end;
      }
      ASSERT_LE(at, static_cast<std::int64_t>(rendering.text.size())) << text;
      ++rendered;
    } catch (const core::FormatError&) {
    }
  }
  EXPECT_GT(rendered, rounds / 20);  // the damage is not so heavy that nothing is tried
}

}  // namespace
}  // namespace corda::jinja
