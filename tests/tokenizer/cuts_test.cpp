// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Places of a text among its ids, and special tokens that are text.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "corda/core/error.h"
#include "corda/tokenizer/tokenizer.h"

namespace corda::tokenizer {
namespace {

std::shared_ptr<const Tokenizer> small(const std::string& name) {
  return load_tokenizer(std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer/small" /
                        name);
}

const std::string kText =
    "The quick brown fox</s> jumps over  the lazy dog.<s>It's 1234 naïve\n\n Würde  人工";

// Every token of these is the bytes it stands for, so that lengths say where it begins.
TEST(Cuts, CountTheTokensThatBeginBeforeEveryByte) {
  for (const char* name : {"byte_level_gpt2", "byte_level_llama3"}) {
    const auto tokenizer = small(name);
    std::vector<std::int64_t> places;
    for (std::size_t at = 0; at <= kText.size(); ++at) {
      if (at == kText.size() || (static_cast<unsigned char>(kText[at]) & 0xC0) != 0x80)
        places.push_back(static_cast<std::int64_t>(at));
    }
    const CutEncoding got = tokenizer->encode_with_cuts(kText, places);
    EXPECT_EQ(got.ids, tokenizer->encode(kText)) << name;
    ASSERT_EQ(got.cuts.size(), places.size());
    std::vector<std::int64_t> begins;
    std::int64_t at = 0;
    for (const TokenId id : got.ids) {
      begins.push_back(at);
      const std::string piece = tokenizer->id_to_token(id);
      std::int64_t bytes = 0;  // byte-level: one code point a byte; special tokens: themselves
      for (const char c : piece) bytes += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
      at += bytes;
    }
    if (at != static_cast<std::int64_t>(kText.size())) continue;  // an added token took a space
    for (std::size_t i = 0; i < places.size(); ++i) {
      const auto expected =
          std::lower_bound(begins.begin(), begins.end(), places[i]) - begins.begin();
      EXPECT_EQ(got.cuts[i], expected) << name << ", byte " << places[i];
    }
  }
}

TEST(Cuts, NeverChangeTheIdsAndAscend) {
  int tokenizers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(
           std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/tokenizer/small")) {
    if (!entry.is_directory()) continue;
    const auto tokenizer = load_tokenizer(entry.path());
    ++tokenizers;
    for (std::int64_t place :
         {std::int64_t{0}, std::int64_t{4}, std::int64_t{19}, std::int64_t{23}}) {
      const std::vector<std::int64_t> places = {place, static_cast<std::int64_t>(kText.size())};
      const CutEncoding got = tokenizer->encode_with_cuts(kText, places);
      EXPECT_EQ(got.ids, tokenizer->encode(kText)) << entry.path();
      EXPECT_LE(got.cuts[0], got.cuts[1]);
      EXPECT_EQ(got.cuts[1], static_cast<std::int64_t>(got.ids.size()));
    }
  }
  EXPECT_EQ(tokenizers, 16);
}

TEST(Literal, SpecialTokensInsideOrReachingInAreText) {
  const auto tokenizer = small("byte_level_gpt2");
  const TokenId eos = *tokenizer->token_to_id("</s>");
  const auto count = [&](const std::vector<ByteSpan>& literal) {
    const auto ids = tokenizer->encode("a</s>b</s>c", {.literal = literal});
    EXPECT_EQ(tokenizer->decode(ids), "a</s>b</s>c");
    return std::count(ids.begin(), ids.end(), eos);
  };
  EXPECT_EQ(count({}), 2);
  EXPECT_EQ(count({{0, 5}}), 1);
  EXPECT_EQ(count({{4, 7}}), 0);
  EXPECT_EQ(count({{5, 6}}), 2);
  EXPECT_EQ(count({{0, 2}, {9, 11}}), 0);
  EXPECT_EQ(tokenizer->encode("a</s>b", {.literal = std::vector<ByteSpan>{{0, 6}}}),
            tokenizer->encode("a</s>b", {.parse_special = false}));
}

}  // namespace
}  // namespace corda::tokenizer
