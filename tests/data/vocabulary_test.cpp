// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A token that a model has no row for is found before the model is, and the record is named.
#include "corda/data/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data_helpers.h"

namespace corda::data {
namespace {

using ::testing::StartsWith;

// Each byte is its own id, nothing stands before or behind a text.
class NamedBytes : public ByteTokenizer {
 public:
  NamedBytes() {
    bos_id.reset();
    eos_id.reset();
    prefix.clear();
  }
  std::string id_to_token(TokenId id) const override {
    return std::string(1, static_cast<char>(id));
  }
};

class VocabularyTest : public ::testing::Test {
 protected:
  static std::string record(const std::string& response) {
    return R"({"prompt": "a", "completion": ")" + response + "\"}\n";
  }
  std::string refusal(std::int64_t rows, const EncodeSettings& settings = {}) {
    const Dataset dataset = load_samples(files_, tokenizer_, settings, log_);
    return message_of<core::ConfigError>([&] {
      require_rows(dataset.samples, {tokenizer_, rows}, files_, settings);
    });
  }
  std::string at(const char* name) const { return (folder_.path() / name).string(); }

  TemporaryFolder folder_;
  NamedBytes tokenizer_;
  CapturedLog log_;
  std::vector<DataFile> files_;
};

TEST_F(VocabularyTest, TheFirstRecordOfAllFilesIsNamedWithItsToken) {
  files_ = {{.path = folder_.write("a.jsonl", record("b"))},
            {.path = folder_.write("b.jsonl", record("c") + "\n" + record("yz") + record("z"))}};
  const EncodeSettings plain{.template_name = "plain"};
  EXPECT_EQ(refusal('z' + 1, plain), "no error");
  EXPECT_EQ(refusal('y', plain),
            at("b.jsonl") +
                ":3:1: token id 121 ('y') is beyond the model's vocabulary of 121 "
                "tokens; is the tokenizer another model's? Put the model's own beside "
                "its weights, or take the token out of the data and their template");
  EXPECT_THAT(refusal('z', plain), StartsWith(at("b.jsonl") + ":3:1: token id 122 ('z')"));
  // The template itself may have such tokens: in every record.
  EXPECT_THAT(refusal('y', {.template_name = "alpaca"}), StartsWith(at("a.jsonl") + ":1:1: "));
}

TEST_F(VocabularyTest, SamplesOfACacheAndShortenedFilesAreNoExceptions) {
  files_ = {{.path = folder_.write("a.jsonl", "{no record\n" + record("z") + record("bz")),
             .format = "prompt-completion",
             .first = 2}};
  const EncodeSettings settings{
      .template_name = "plain", .skip_bad = true, .cache = folder_.path() / "cache"};
  for (int i = 0; i < 2; ++i)
    EXPECT_THAT(refusal('z', settings), StartsWith(at("a.jsonl") + ":3:1: token id 122"));
  // What is cut off goes into no model.
  EncodeSettings cut = settings;
  cut.max_length = 2;
  EXPECT_EQ(refusal('z', cut), "no error");
}

TEST_F(VocabularyTest, OfPlainTextsAndOfTokensThatNoRecordHasTheFilesAreNamed) {
  files_ = {{.path = folder_.write("a.txt", "a\nb\nxyz\n")}};
  EXPECT_THAT(refusal('z'), StartsWith(at("a.txt") + ": token id 122 ('z')"));
  EXPECT_THAT(refusal('z', {.max_length = 3}), StartsWith(at("a.txt") + ": token id 122 ('z')"));
  files_.push_back({.path = folder_.write("b.txt", "c")});
  EXPECT_THAT(message_of<core::ConfigError>([&] {
                require_rows(std::vector<TokenId>{97, 1001}, {tokenizer_, 1000}, files_, {});
              }),
              StartsWith(at("a.txt") + ", " + at("b.txt") + ": token id 1001 "));
}

}  // namespace
}  // namespace corda::data
