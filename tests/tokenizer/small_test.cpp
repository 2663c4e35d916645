// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Small tokenizers made for the purpose, against the Hugging Face library.
#include <thread>

#include "corda/core/error.h"
#include "corda/tokenizer/tokenizer.h"
#include "golden.h"

namespace corda::tokenizer {
namespace {

using core::Json;
using Ids = std::vector<TokenId>;

void expect_rows(const Tokenizer& tokenizer, const Json& rows, const std::string& name) {
  const auto texts = golden_json("small/texts.json").get<std::vector<std::string>>();
  ASSERT_EQ(rows.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Json& row = rows[i];
    const std::string label = name + ", text " + std::to_string(i) + ": " + texts[i];
    const Ids expected = row.at("ids").get<Ids>();
    EXPECT_EQ(tokenizer.encode(texts[i]), expected) << label;
    EXPECT_EQ(tokenizer.encode(texts[i], {.parse_special = false}),
              row.contains("plain") ? row.at("plain").get<Ids>() : expected)
        << label;
    Ids whole = row.at("around")[0].get<Ids>();
    whole.insert(whole.end(), expected.begin(), expected.end());
    const Ids suffix = row.at("around")[1].get<Ids>();
    whole.insert(whole.end(), suffix.begin(), suffix.end());
    EXPECT_EQ(tokenizer.encode(texts[i], {.add_special_tokens = true}), whole) << label;
    const std::string decoded =
        row.contains("decoded") ? row.at("decoded").get<std::string>() : texts[i];
    EXPECT_EQ(tokenizer.decode(expected), decoded) << label;
    EXPECT_EQ(tokenizer.decode(expected, {.skip_special_tokens = true}),
              row.contains("skipped") ? row.at("skipped").get<std::string>() : decoded)
        << label;
  }
}

TEST(SmallTokenizers, MatchHuggingFace) {
  const Json golden = golden_json("small/outputs.json");
  ASSERT_EQ(golden.size(), 16U);
  for (const auto& [name, rows] : golden.items()) {
    expect_rows(*load_tokenizer(golden_path("small") / name), rows, name);
  }
}

TEST(SentencePieceTokenizer, MatchesHuggingFace) {
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(golden_path("sentencepiece"));
  expect_rows(*tokenizer, golden_json("sentencepiece/outputs.json"), "sentencepiece");
  EXPECT_EQ(tokenizer->bos_id, 1);
  EXPECT_EQ(tokenizer->eos_id, 2);
  EXPECT_EQ(tokenizer->pad_id, std::nullopt);
  EXPECT_EQ(tokenizer->prefix, Ids{1});
  EXPECT_EQ(tokenizer->end_ids, Ids{2});
  EXPECT_EQ(tokenizer->vocab_size(), 560);
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(300));
}

TEST(SentencePieceTokenizer, EveryOptionMatchesItsLibrary) {
  const Json golden = golden_json("sentencepiece_options/outputs.json");
  const auto texts = golden.at("texts").get<std::vector<std::string>>();
  ASSERT_EQ(golden.at("models").size(), 8U);
  for (const auto& [name, cases] : golden.at("models").items()) {
    for (const Json& entry : cases) {
      const TemporaryFolder folder;
      fs::copy_file(golden_path("sentencepiece_options") / name / "tokenizer.model",
                    folder.path() / "tokenizer.model");
      folder.write("tokenizer_config.json", Json{{"legacy", entry.at("legacy")}}.dump());
      const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
      ASSERT_EQ(entry.at("ids").size(), texts.size());
      for (std::size_t i = 0; i < texts.size(); ++i) {
        const Ids expected = entry.at("ids")[i].get<Ids>();
        const Json& decoded = entry.at("decoded")[i];
        EXPECT_EQ(tokenizer->encode(texts[i]), expected) << name << ": " << texts[i];
        EXPECT_EQ(tokenizer->decode(expected, {.skip_special_tokens = true}),
                  decoded.is_null() ? texts[i] : decoded.get<std::string>())
            << name << ": " << texts[i];
      }
    }
  }
}

TEST(SentencePieceTokenizer, AddPrefixSpaceOverridesTheModel) {
  const auto first_piece = [](const char* model, const char* config) {
    const TemporaryFolder folder;
    fs::copy_file(golden_path("sentencepiece_options") / model / "tokenizer.model",
                  folder.path() / "tokenizer.model");
    folder.write("tokenizer_config.json", config);
    const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
    return tokenizer->id_to_token(tokenizer->encode("x").front());
  };
  EXPECT_EQ(first_piece("bpe_without_prefix", "{}"), "x");
  EXPECT_EQ(first_piece("bpe_without_prefix", R"({"add_prefix_space": true})"), "\u2581x");
  EXPECT_EQ(first_piece("bpe_cleaned", "{}"), "\u2581x");
  EXPECT_EQ(first_piece("bpe_cleaned", R"({"add_prefix_space": false})"), "x");
}

// The folder that a case of added_tokens.json describes.
void write_case(const Json& entry, const TemporaryFolder& folder) {
  const fs::path file = golden_path(entry.at("file").get<std::string>());
  if (file.extension() == ".model") {
    fs::copy_file(file, folder.path() / file.filename());
  } else {
    Json tokenizer = core::read_json(file);
    for (const auto& [key, value] : entry.at("changes").items()) {
      if (key == "added") {
        for (const Json& token : value) tokenizer["added_tokens"].push_back(token);
      } else {
        tokenizer[key] = value;
      }
    }
    folder.write("tokenizer.json", tokenizer.dump());
  }
  for (const auto& [name, content] : entry.at("files").items()) folder.write(name, content.dump());
}

std::optional<TokenId> id_or_null(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return json.get<TokenId>();
}

// What two encodings begin with alike.
Ids id_prefix(const Ids& a, const Ids& b) {
  return {a.begin(), std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first};
}

TEST(AddedTokens, OfEveryFileMatchHuggingFace) {
  const Json golden = golden_json("added_tokens.json");
  const auto texts = golden.at("texts").get<std::vector<std::string>>();
  ASSERT_EQ(golden.at("cases").size(), 42U);
  for (const Json& entry : golden.at("cases")) {
    const auto name = entry.at("case").get<std::string>();
    SCOPED_TRACE(name);
    const TemporaryFolder folder;
    write_case(entry, folder);
    const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
    EXPECT_EQ(tokenizer->vocab_size(), entry.at("size"));
    EXPECT_EQ(tokenizer->bos_id, id_or_null(entry.at("bos")));
    EXPECT_EQ(tokenizer->eos_id, id_or_null(entry.at("eos")));
    EXPECT_EQ(tokenizer->pad_id, id_or_null(entry.at("pad")));
    Json named = Json::object();
    for (const auto& [key, token] : tokenizer->named_tokens) named[key] = token;
    EXPECT_EQ(nlohmann::json(named), nlohmann::json(entry.at("named")));
    Json special = Json::array();
    for (TokenId id = 0; id < tokenizer->vocab_size(); ++id) {
      if (tokenizer->is_special(id)) special.push_back(id);
    }
    EXPECT_EQ(special, entry.at("special"));
    EXPECT_TRUE(tokenizer->notes.empty());
    ASSERT_EQ(entry.at("ids").size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Ids expected = entry.at("ids")[i].get<Ids>();
      EXPECT_EQ(tokenizer->encode(texts[i], {.add_special_tokens = true}), expected) << texts[i];
      EXPECT_EQ(tokenizer->decode(expected), entry.at("decoded")[i]) << texts[i];
      EXPECT_EQ(tokenizer->decode(expected, {.skip_special_tokens = true}), entry.at("skipped")[i])
          << texts[i];
    }
    // What stands before every text is what a training sample begins with.
    const Ids bare = tokenizer->encode("");
    const Ids around = tokenizer->encode("", {.add_special_tokens = true});
    EXPECT_EQ(bare, Ids{});
    EXPECT_EQ(tokenizer->prefix, id_prefix(around, entry.at("ids")[3].get<Ids>()));
  }
}

TEST(TokenizerConfig, OptionsMatchHuggingFace) {
  const Json golden = golden_json("options.json");
  const auto texts = golden.at("texts").get<std::vector<std::string>>();
  ASSERT_EQ(golden.at("cases").size(), 13U);
  for (const Json& entry : golden.at("cases")) {
    const fs::path file = golden_path(entry.at("file").get<std::string>());
    const TemporaryFolder folder;
    fs::copy_file(file, folder.path() / file.filename());
    folder.write("tokenizer_config.json", entry.at("config").dump());
    const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
    ASSERT_EQ(entry.at("ids").size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const Ids expected = entry.at("ids")[i].get<Ids>();
      EXPECT_EQ(tokenizer->encode(texts[i], {.add_special_tokens = true}), expected)
          << file << " " << entry.at("config") << ": " << texts[i];
      EXPECT_EQ(tokenizer->decode(expected), entry.at("decoded")[i].get<std::string>())
          << file << " " << entry.at("config") << ": " << texts[i];
    }
  }
}

TEST(SmallTokenizers, SameIdsFromManyThreads) {
  const auto texts = golden_json("small/texts.json").get<std::vector<std::string>>();
  const std::shared_ptr<const Tokenizer> tokenizer =
      load_tokenizer(golden_path("small/byte_level_llama3"));
  std::vector<Ids> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer->encode(text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 20; ++round) {
        for (std::size_t i = 0; i < texts.size(); ++i)
          wrong[t] += tokenizer->encode(texts[i]) != expected[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(EncodeBatch, EqualsEncodeForAnyNumberOfThreads) {
  const std::shared_ptr<const Tokenizer> tokenizer =
      load_tokenizer(golden_path("small/byte_level_llama3"));
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (int round = 0; round < 20; ++round) {
    for (const std::string& text :
         golden_json("small/texts.json").get<std::vector<std::string>>()) {
      texts.push_back(text);
      expected.push_back(tokenizer->encode(text, {.add_special_tokens = true}));
    }
  }
  for (const std::int64_t threads : {1, 2, 3, 8, 500}) {
    EXPECT_EQ(encode_batch(*tokenizer, texts, threads, {.add_special_tokens = true}), expected)
        << threads;
  }
  EXPECT_EQ(encode_batch(*tokenizer, {}, 4), std::vector<Ids>());
  EXPECT_EQ(error_of<core::ConfigError>([&] { encode_batch(*tokenizer, texts, 0); }),
            "expected at least 1 thread; received 0");
}

TEST(EncodeBatch, ThrowsTheErrorOfTheFirstText) {
  // A model without unknown token refuses what it does not know.
  const TemporaryFolder folder;
  folder.write("tokenizer.json",
               R"({"model": {"type": "WordLevel", "unk_token": "?", "vocab": {"a": 0}}})");
  const std::shared_ptr<const Tokenizer> tokenizer = load_tokenizer(folder.path());
  std::vector<std::string> texts(400, "a");
  for (std::size_t i = 100; i < texts.size(); ++i) texts[i] = "bad " + std::to_string(i);
  for (const std::int64_t threads : {1, 2, 4}) {
    EXPECT_EQ(error_of<core::ConfigError>([&] { encode_batch(*tokenizer, texts, threads); }),
              "the word 'bad 100' has no token, and the unknown token '?' is "
              "not in the vocabulary");
  }
}

TEST(SmallTokenizers, LongWordsMergeAsShortOnes) {
  // The heap and the scan must agree: a word of 600 letters goes through the heap, its halves below
  // 48 through the scan.
  const std::shared_ptr<const Tokenizer> tokenizer =
      load_tokenizer(golden_path("small/byte_level_gpt2"));
  const std::string digits(600, '7');
  Ids repeated;
  for (int i = 0; i < 600; ++i) repeated.push_back(*tokenizer->token_to_id("7"));
  EXPECT_EQ(tokenizer->encode(digits), repeated);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(std::string(5000, 'a') + "the")),
            std::string(5000, 'a') + "the");
}

TEST(SmallTokenizers, InvalidUtf8BecomesReplacementCharacters) {
  const std::shared_ptr<const Tokenizer> tokenizer =
      load_tokenizer(golden_path("small/byte_level_gpt2"));
  // The maximal invalid parts, as Python's bytes.decode(errors="replace") finds them.
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xE2\x82"
                                                "b\xFF\xC0\x80\xF0\x9F\x98")),
            "a\uFFFDb\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(tokenizer->encode("a\xFF"), tokenizer->encode("a\uFFFD"));
}

TEST(SmallTokenizers, IdsOutsideTheVocabularyAreNoText) {
  const std::shared_ptr<const Tokenizer> tokenizer =
      load_tokenizer(golden_path("small/byte_level_gpt2"));
  ASSERT_EQ(tokenizer->vocab_size(), 420);
  EXPECT_EQ(tokenizer->decode(Ids{420, 300, -1, 1 << 30}), tokenizer->decode(Ids{300}));
  EXPECT_EQ(tokenizer->decode(Ids{420}), "");
  EXPECT_EQ(error_of<core::ConfigError>([&] { tokenizer->id_to_token(420); }),
            "the id 420 is not in the vocabulary, whose ids end at 419");
}

}  // namespace
}  // namespace corda::tokenizer
