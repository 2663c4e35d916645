// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Every component against the Hugging Face library, text by text.
#include "corda/core/text.h"
#include "golden.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/components_json.h"
#include "tokenizer/unicode.h"

namespace corda::tokenizer {
namespace {

using core::Json;

std::vector<std::string> texts() {
  return golden_json("small/texts.json").get<std::vector<std::string>>();
}

// A golden is the list of words, or of their lengths in code points where they are the text cut up.
std::vector<std::string> words_of(const Json& golden, std::string_view text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  for (const Json& word : golden) {
    if (word.is_string()) {
      words.push_back(word.get<std::string>());
      continue;
    }
    const std::size_t begin = at;
    for (auto left = word.get<int>(); left > 0; --left) next_code_point(text, at);
    words.emplace_back(text.substr(begin, at - begin));
  }
  return words;
}

TEST(Normalizers, MatchHuggingFace) {
  const std::vector<std::string> inputs = texts();
  const Json cases = golden_json("small/components.json").at("normalizers");
  ASSERT_EQ(cases.size(), 36U);
  for (const Json& entry : cases) {
    const NormalizerPtr normalizer = normalizer_from_json(entry.at("json"), "golden");
    ASSERT_EQ(entry.at("out").size(), inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Json& expected = entry.at("out")[i];
      EXPECT_EQ(normalizer->apply(inputs[i]),
                expected.is_null() ? inputs[i] : expected.get<std::string>())
          << entry.at("json") << " of text " << i << ": " << inputs[i];
    }
  }
}

TEST(PreTokenizers, MatchHuggingFace) {
  const std::vector<std::string> inputs = texts();
  const Json cases = golden_json("small/components.json").at("pre_tokenizers");
  ASSERT_EQ(cases.size(), 83U);
  for (const Json& entry : cases) {
    const PreTokenizerPtr pre_tokenizer =
        pre_tokenizer_from_json(entry.at("json"), "golden", false);
    ASSERT_EQ(entry.at("out").size(), inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Json& golden = entry.at("out")[i];
      const std::vector<std::string> expected = words_of(golden, inputs[i]);
      Scratch scratch;
      if (!inputs[i].empty())
        scratch.pieces.push_back({inputs[i], -1, utf8_length(inputs[i].front())});
      pre_tokenizer->split(scratch);
      std::vector<std::string> words;
      for (const Piece& piece : scratch.pieces) words.emplace_back(piece.text);
      EXPECT_EQ(words, expected) << entry.at("json") << " of text " << i << ": " << inputs[i];
    }
  }
}

// A normalizer and what follows it together: whether a piece stands where the text begins depends
// on both.
TEST(Pipelines, MatchHuggingFace) {
  const Json golden = golden_json("small/pipelines.json");
  const auto inputs = golden.at("texts").get<std::vector<std::string>>();
  ASSERT_EQ(golden.at("cases").size(), 108U);
  for (const Json& entry : golden.at("cases")) {
    const NormalizerPtr normalizer = normalizer_from_json(entry.at("normalizer"), "golden");
    const PreTokenizerPtr pre_tokenizer =
        pre_tokenizer_from_json(entry.at("pre_tokenizer"), "golden", false);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Scratch scratch;
      AddedTokens().extract(inputs[i], normalizer.get(), true, scratch);
      pre_tokenizer->split(scratch);
      std::vector<std::string> words;
      for (const Piece& piece : scratch.pieces) words.emplace_back(piece.text);
      EXPECT_EQ(words, entry.at("out")[i].get<std::vector<std::string>>())
          << entry.at("normalizer") << entry.at("pre_tokenizer") << " of text " << i << ": "
          << inputs[i];
    }
  }
}

TEST(Decoders, MatchHuggingFace) {
  const Json golden = golden_json("small/components.json").at("decoders");
  ASSERT_EQ(golden.at("cases").size(), 17U);
  for (const Json& entry : golden.at("cases")) {
    const DecoderPtr decoder = decoder_from_json(entry.at("json"), "golden");
    for (std::size_t i = 0; i < golden.at("inputs").size(); ++i) {
      auto tokens = golden.at("inputs")[i].get<std::vector<std::string>>();
      decoder->decode(tokens);
      EXPECT_EQ(core::join(tokens, ""), entry.at("out")[i].get<std::string>())
          << entry.at("json") << " of input " << i;
    }
  }
}

}  // namespace
}  // namespace corda::tokenizer
