// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Damaged data files end in samples or in an error of ours that names a place in the file; with
// skip_bad the sound records are kept. CORDA_FUZZ_ROUNDS sets how many are tried.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "chat_helpers.h"
#include "corda/core/random.h"
#include "corda/data/load.h"
#include "data_helpers.h"
#include "support/fuzz_rounds.h"

namespace corda::data {
namespace {

constexpr const char* kRecords[] = {
    R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})",
    R"({"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"W\u00fcrde"}]})",
    R"({"instruction":"do","input":"this","output":"done","history":[["a","b"]]})",
    R"({"prompt":"p","completion":"c"})",
    R"({"question":"q","answers":["a","b"]})",
    R"({"text":"some text \ud83d\ude00"})",
    R"({"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},{"role":"tool","content":"3"},{"role":"assistant","content":"b"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]})"};

std::string damaged(std::string text, core::Random& random) {
  static constexpr const char* kParts[] = {"{",        "}",    "[",      "]",        "\"",
                                           ",",        ":",    "null",   "\\u",      "\n",
                                           "\xE4\xBD", "\xFF", "-1e999", "[[[[[[[[", "\r\n"};
  for (std::uint64_t i = 0; i <= random.below(3); ++i) {
    const auto at = static_cast<std::size_t>(random.below(text.size() + 1));
    switch (random.below(4)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, random.below(20));
        break;
      case 2:
        text.insert(at, text.substr(random.below(text.size() + 1), random.below(40)));
        break;
      default:
        text.insert(at, kParts[random.below(std::size(kParts))]);
    }
  }
  return text;
}

TEST(Fuzz, DamagedDataLoadOrFailWithTheirPlace) {
  const int rounds = testing::fuzz_rounds(600);
  const auto tokenizer = chat_tokenizer("bytes");
  const TemporaryFolder folder;
  const std::regex place(R"(data\.(jsonl|json|jsonl\.gz):\d+:\d+: )");
  core::Random random(5);
  int loaded = 0;
  int refused = 0;
  for (int i = 0; i < rounds; ++i) {
    const auto first = static_cast<std::size_t>(random.below(std::size(kRecords)));
    const std::string record = kRecords[first];
    const bool list = random.below(4) == 0;
    std::string text = list ? "[" + record + ",\n" + record + "]" : record + "\n" + record + "\n";
    text = damaged(text, random);
    std::string name = list ? "data.json" : "data.jsonl";
    if (!list && random.below(4) == 0) {
      name += ".gz";
      text = gzip(text);
      if (random.below(2) == 0) text = damaged(text, random);
    }
    const EncodeSettings settings{.template_name = first == 3 || first == 4 ? "auto" : "chatml",
                                  .model_directory = chat_golden() / "bytes",
                                  .skip_bad = random.below(2) == 0,
                                  .threads = 1};
    CapturedLog log;
    const DataFile file{.path = folder.write(name, text)};
    try {
      load_samples({file}, *tokenizer, settings, log);
      ++loaded;
    } catch (const core::FormatError& error) {
      ++refused;
      const std::string message = error.what();
      EXPECT_TRUE(std::regex_search(message, place) || name.ends_with(".gz") ||
                  message.find("the file is empty") != std::string::npos)
          << message << "\n"
          << text;
    } catch (const core::ConfigError&) {  // nothing left, or formats that do not go together
    }
  }
  EXPECT_GT(loaded, rounds / 20);
  EXPECT_GT(refused, rounds / 20);
}

}  // namespace
}  // namespace corda::data
