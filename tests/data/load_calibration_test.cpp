// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "corda/core/random.h"
#include "corda/data/load.h"
#include "data/data_helpers.h"

namespace corda::data {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const std::string kQa =
    "{\"question\":\"q\",\"answer\":[\"a\",\"x\"]}\n{\"question\":\"r\",\"answer\":\"b\"}\n";

class LoadCalibration : public ::testing::Test {
 protected:
  DataFile file(const std::string& content, const std::string& name = "f.jsonl") {
    return {.path = folder_.write(name, content)};
  }
  std::vector<std::string> windows(const std::vector<DataFile>& files,
                                   const CalibrationSettings& settings) {
    std::vector<std::string> texts;
    for (const auto& ids : load_calibration(files, tokenizer_, settings, log_))
      texts.push_back(tokenizer_.decode(ids, {}));
    return texts;
  }
  // Fewer tokens than a window: all of them in order.
  std::string all(const std::vector<DataFile>& files,
                  const std::string& qa_text = "question-answer") {
    const auto texts = windows(files, {.samples = 4, .seq_len = 1000, .qa_text = qa_text});
    return texts.size() == 1 ? texts[0] : "not one window";
  }

  TemporaryFolder folder_;
  ByteTokenizer tokenizer_;
  CapturedLog log_;
};

TEST_F(LoadCalibration, QaDocumentsHaveBosAndEosAndTheFirstAnswer) {
  EXPECT_EQ(all({file(kQa)}), "[BOS]Question: q\nAnswer: a[EOS][BOS]Question: r\nAnswer: b[EOS]");
  EXPECT_THAT(
      log_.text,
      HasSubstr("warning: the calibration data has 46 tokens, fewer than one window of 1000"));
  tokenizer_.eos_id = tokenizer_.bos_id;
  EXPECT_EQ(all({file(kQa)}), "[BOS]Question: q\nAnswer: a[BOS]Question: r\nAnswer: b");
  tokenizer_.eos_id = 1002;
  tokenizer_.prefix.clear();
  EXPECT_EQ(all({file(kQa)}), "Question: q\nAnswer: a[EOS]Question: r\nAnswer: b[EOS]");
}

TEST_F(LoadCalibration, QuestionsAndTextsAreJoinedByBlankLinesAndTokenisedAsOne) {
  const std::vector<DataFile> files = {file(kQa, "a.jsonl"), file("words", "b.txt")};
  EXPECT_EQ(all(files, "question"), "q\n\nr\n\nwords");
  EXPECT_EQ(tokenizer_.segments.size(), 1U);
  EXPECT_EQ(all(files), "[BOS]Question: q\nAnswer: a[EOS][BOS]Question: r\nAnswer: b[EOS]words");
}

TEST_F(LoadCalibration, WindowsHaveTheirLengthAndTheStartsOfTheSeed) {
  std::string text;
  for (char c = 'a'; c <= 'z'; ++c) text += c;
  const CalibrationSettings settings{.samples = 5, .seq_len = 8, .seed = 7};
  const auto drawn = windows({file(text, "f.txt")}, settings);
  core::Random random(7);
  ASSERT_EQ(drawn.size(), 5U);
  for (const auto& window : drawn)
    EXPECT_EQ(window, text.substr(static_cast<std::size_t>(random.below(19)), 8));
  EXPECT_EQ(windows({file(text, "f.txt")}, settings), drawn);
  EXPECT_THAT(log_.text, Not(HasSubstr("warning")));
}

TEST_F(LoadCalibration, WarnsWhereMoreThanTwiceTheTokensAreAskedFor) {
  const DataFile data_file = file(std::string(100, 'a'), "f.txt");
  windows({data_file}, {.samples = 20, .seq_len = 10});
  EXPECT_THAT(log_.text, Not(HasSubstr("warning")));
  windows({data_file}, {.samples = 21, .seq_len = 10});
  EXPECT_THAT(log_.text, HasSubstr("warning: 21 windows of 10 tokens were asked for, but the "
                                   "calibration data has only 100"));
}

TEST_F(LoadCalibration, InstructionsAreDistinctTrainingSamplesCutAtTheLength) {
  std::string json;
  for (char c = 'a'; c < 'k'; ++c)
    json += std::string("{\"prompt\":\"") + c + "\",\"completion\":\"response\"}\n";
  const CalibrationSettings settings{
      .samples = 6, .seq_len = 5, .seed = 1, .encode = {.template_name = "plain"}};
  const auto drawn = windows({file(json)}, settings);
  ASSERT_EQ(drawn.size(), 6U);
  EXPECT_EQ(std::set<std::string>(drawn.begin(), drawn.end()).size(), 6U);
  for (const auto& text : drawn) EXPECT_EQ(text, "[BOS]" + text.substr(5, 1) + "res");
  EXPECT_EQ(windows({file(json)}, settings), drawn);
  const auto whole = windows({file("{\"prompt\":\"p\",\"completion\":\"c\"}")},
                             {.samples = 3, .seq_len = 99, .encode = {.template_name = "plain"}});
  EXPECT_EQ(whole, std::vector<std::string>{"[BOS]pc[EOS]"});
  EXPECT_THAT(log_.text, HasSubstr("3 calibration samples were asked for, but there are only 1"));
}

TEST_F(LoadCalibration, WrongRequestsAreNamed) {
  const auto error = [&](const std::vector<DataFile>& files, const CalibrationSettings& settings) {
    return message_of<core::ConfigError>([&] { windows(files, settings); });
  };
  const DataFile text = file("words", "f.txt");
  EXPECT_THAT(error({}, {}), HasSubstr("no calibration data file was given"));
  EXPECT_THAT(error({text}, {.qa_text = "questions"}),
              HasSubstr("unknown qa text 'questions' (did you mean 'question'?)"));
  EXPECT_THAT(error({text}, {.samples = 0}), HasSubstr("samples = 0, seq_len = 2048"));
  EXPECT_THAT(error({file("{\"text\":\"\"}")}, {}),
              HasSubstr("the calibration data holds no token"));
  EXPECT_THAT(error({text, file("{\"prompt\":\"p\",\"completion\":\"c\"}")}, {}),
              HasSubstr("cannot mix documents"));
}

}  // namespace
}  // namespace corda::data
