// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Texts that come in pieces have the tokens of the whole, and random windows are the same whether
// the tokens are held or read twice.
#include "data/text_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat_helpers.h"
#include "corda/core/random.h"
#include "corda/data/load.h"
#include "corda/data/template.h"
#include "data/window_draw.h"
#include "data_helpers.h"

namespace corda::data {
namespace {

const fs::path kSmall = fs::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer/small";

// Lines of words, numbers and every script of the golden texts.
std::string some_text(std::size_t size) {
  const auto texts = core::read_json(kSmall / "texts.json").get<std::vector<std::string>>();
  core::Random random(3);
  std::string text;
  while (text.size() < size) {
    text += texts[random.below(texts.size())];
    text += random.below(3) == 0 ? "\n" : " ";
  }
  return text;
}

std::vector<TokenId> streamed(const tokenizer::Tokenizer& tokenizer, const std::string& text,
                              std::int64_t threads, std::int64_t* times = nullptr) {
  std::vector<TokenId> ids;
  TextTokens tokens(tokenizer, threads,
                    [&](std::span<const TokenId> part) {
                      ids.insert(ids.end(), part.begin(), part.end());
                      if (times != nullptr) ++*times;
                    },
                    {.part = 900, .context = 500});
  core::Random random(4);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = 1 + random.below(400);  // also within a character
    tokens.add(std::string_view(text).substr(at, size));
    at += size;
  }
  tokens.finish();
  return ids;
}

TEST(TextTokens, PiecesHaveTheTokensOfTheWhole) {
  const std::string text = some_text(40000);
  int compared = 0;
  std::vector<fs::directory_entry> entries;
  for (const fs::path& folder : {kSmall, kSmall.parent_path() / "sentencepiece_options"})
    entries.insert(entries.end(), fs::directory_iterator(folder), fs::directory_iterator());
  for (const auto& entry : entries) {
    if (!entry.is_directory()) continue;
    // Their ties fall as a sum over all of the text is rounded, which no part of it knows.
    const std::string name = entry.path().filename();
    if (name == "unigram_runs" || name == "unigram_ties") continue;
    SCOPED_TRACE(entry.path());
    const auto tokenizer = tokenizer::load_tokenizer(entry.path());
    const std::vector<TokenId> whole = encode_plain(*tokenizer, text);
    for (const std::int64_t threads : {1, 3}) {
      std::int64_t times = 0;
      EXPECT_EQ(streamed(*tokenizer, text, threads, &times), whole);
      EXPECT_GE(times, 15);  // it was cut
    }
    ++compared;
  }
  EXPECT_EQ(compared, 15 + 6);
}

TEST(TextTokens, TextWithoutAPlaceForACutIsHeld) {
  const auto tokenizer = tokenizer::load_tokenizer(kSmall / "llama_fallback");
  const std::string text(20000, 'a');
  std::int64_t times = 0;
  EXPECT_EQ(streamed(*tokenizer, text, 1, &times), encode_plain(*tokenizer, text));
  EXPECT_EQ(times, 1);
}

TEST(TextTokens, FinishBeginsAnotherText) {
  const auto tokenizer = tokenizer::load_tokenizer(kSmall / "llama_fallback");
  std::vector<TokenId> ids;
  TextTokens tokens(*tokenizer, 1, [&](std::span<const TokenId> part) {
    ids.insert(ids.end(), part.begin(), part.end());
  });
  tokens.add("the ");
  tokens.add("dog");
  tokens.finish();
  tokens.finish();
  tokens.add("the dog");
  tokens.finish();
  std::vector<TokenId> twice = encode_plain(*tokenizer, "the dog");
  twice.insert(twice.end(), twice.begin(), twice.end());
  EXPECT_EQ(ids, twice);
}

TEST(WindowDraw, ReadingTwiceGivesWhatHoldingGives) {
  core::Random random(7);
  std::vector<TokenId> ids;
  for (int i = 0; i < 5000; ++i) ids.push_back(i);
  const auto read = [&](const WindowDraw::Sink& sink) {
    core::Random sizes(8);
    for (std::size_t at = 0; at < ids.size();) {
      const std::size_t size = std::min<std::size_t>(1 + sizes.below(90), ids.size() - at);
      sink(std::span<const TokenId>(ids).subspan(at, size));
      at += size;
    }
  };
  std::vector<std::int64_t> starts = {0, 4900, 0, 17};
  for (int i = 0; i < 50; ++i) starts.push_back(static_cast<std::int64_t>(random.below(4901)));
  const auto held = WindowDraw(read).windows(starts, 100);
  const auto twice = WindowDraw(read, 10).windows(starts, 100);
  EXPECT_EQ(held, twice);
  ASSERT_EQ(held.size(), starts.size());
  for (std::size_t i = 0; i < starts.size(); ++i) {
    ASSERT_EQ(held[i].size(), 100U);
    EXPECT_EQ(held[i].front(), starts[i]);
    EXPECT_EQ(held[i].back(), starts[i] + 99);
  }
}

TEST(WindowDraw, DataThatChangeBetweenTheReadingsAreNoticed) {
  int reading = 0;
  const WindowDraw draw(
      [&](const WindowDraw::Sink& sink) {
        const std::vector<TokenId> ids(static_cast<std::size_t>(100 - reading++), 1);
        sink(ids);
      },
      10);
  EXPECT_THAT(message_of<core::IoError>([&] { draw.windows({0}, 10); }),
              testing::HasSubstr("changed while they were read: 100 tokens, then 99"));
}

// A plain text, read in parts, and the same text as one record.
TEST(PlainText, LongFilesGiveTheSamplesOfTheWholeDocument) {
  const TemporaryFolder folder;
  std::string text = some_text(3'000'000);
  std::erase(text, '\r');
  const auto tokenizer = tokenizer::load_tokenizer(kSmall / "byte_level_llama3");
  CapturedLog log;
  const auto load = [&](const fs::path& path) {
    return load_samples({{.path = path}}, *tokenizer, {.max_length = 512, .threads = 2}, log);
  };
  const Dataset plain = load(folder.write("f.txt", text));
  const Dataset record = load(folder.write("f.jsonl", core::Json{{"text", text}}.dump()));
  EXPECT_EQ(plain.samples.fingerprint(), record.samples.fingerprint());
  EXPECT_GT(plain.samples.size(), 1000);
  EXPECT_EQ(plain.counts.records, 1);
  EXPECT_EQ(plain.counts.tokens, record.counts.tokens);
  EXPECT_EQ(plain.counts.dropped, record.counts.dropped);
  std::string windows = text;  // line ends of the other kind are the same text
  for (std::size_t at = 0; (at = windows.find('\n', at)) != std::string::npos; at += 2)
    windows.insert(at, "\r");
  EXPECT_EQ(load(folder.write("w.txt", windows)).samples.fingerprint(),
            plain.samples.fingerprint());
  const CalibrationSettings draw{.samples = 5, .seq_len = 64};
  EXPECT_EQ(load_calibration({{.path = folder.path() / "f.txt"}}, *tokenizer, draw, log),
            load_calibration({{.path = folder.path() / "f.jsonl"}}, *tokenizer, draw, log));
}

}  // namespace
}  // namespace corda::data
