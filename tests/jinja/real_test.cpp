// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Real chat templates, where the data folder is there: hashes of what transformers renders.
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "golden.h"
#include "support/data_folder.h"

namespace corda::jinja {
namespace {

std::string digest(std::string_view text, std::size_t digits) {
  return core::Sha256().update(text).hex_digest().substr(0, digits);
}

// What the golden file would say about this rendering; of errors that the template did not raise
// itself only "error".
std::string outcome(const Template& chat, const Value& variables, const RenderOptions& options,
                    bool with_spans) {
  try {
    const auto rendering = chat.render(variables, options);
    return digest(rendering.text, 20) +
           (with_spans ? " " + digest(spans_in_code_points(rendering), 8) : "");
  } catch (const core::FormatError& error) {
    return error.what();
  }
}

TEST(RealTemplates, RenderAsTransformersDoes) {
  const auto folder = testing::data_folder() / "chat_templates";
  if (!core::fs::exists(folder))
    GTEST_SKIP() << "no templates at " << folder << " (set CORDA_SHARED)";
  const auto file = golden("real.json");
  std::vector<std::pair<std::string, Value>> conversations;
  for (const auto& [name, variables] : file["conversations"].items())
    conversations.emplace_back(name, from_json(variables));
  const auto options = golden_options();
  int matching = 0, rendered = 0;
  for (const auto& [path, rows] : file["templates"].items()) {
    const Template chat(core::read_file(folder / path), path);
    ASSERT_EQ(rows.size(), conversations.size());
    bool all = true;
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      SCOPED_TRACE(path + ", " + conversations[i].first);
      const auto expected = rows[i].get<std::string>();
      const bool fails = expected.starts_with("error: "), raised = expected.starts_with("raised: ");
      const auto got = outcome(chat, conversations[i].second, options,
                               !fails && !raised && expected.find(' ') != std::string::npos);
      const bool same = raised  ? got.ends_with(": " + expected.substr(8))
                        : fails ? got.starts_with(path + ":")
                                : got == expected;
      EXPECT_TRUE(same) << "expected " << expected << "\ngot      " << got;
      rendered += !fails && !raised ? 1 : 0;
      all = all && same;
    }
    matching += all ? 1 : 0;
  }
  EXPECT_EQ(matching, 42);
  RecordProperty("matching_templates", matching);
  EXPECT_GE(rendered, 1500);  // most conversations are not errors
}

}  // namespace
}  // namespace corda::jinja
