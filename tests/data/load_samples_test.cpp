// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/data/load.h"
#include "corda/data/template.h"
#include "data/data_helpers.h"

namespace corda::data {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;

const std::string kHead =
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request.\n\n"
    "### Instruction:\n";
const std::string kHeadWithInput =
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n";

class LoadSamples : public ::testing::Test {
 protected:
  DataFile file(const std::string& content, const std::string& format = "auto",
                const std::string& columns = "", const std::string& name = "f.jsonl") {
    return {
        .path = folder_.write(name, content), .format = format, .columns = parse_columns(columns)};
  }
  Dataset load(const DataFile& data_file, const EncodeSettings& settings = {}) {
    return load_samples({data_file}, tokenizer_, settings, log_);
  }
  // The message without the folder's name.
  template <typename Expected>
  std::string error_of(const DataFile& data_file, const EncodeSettings& settings = {}) {
    std::string message = message_of<Expected>([&] { load(data_file, settings); });
    const std::string folder = folder_.path().string() + "/";
    for (auto at = message.find(folder); at != std::string::npos; at = message.find(folder))
      message.erase(at, folder.size());
    return message;
  }
  std::string prompt_of(const Sample& sample) const { return part(sample, 0); }
  std::string targets_of(const Sample& sample) const { return part(sample, 1); }

  TemporaryFolder folder_;
  ByteTokenizer tokenizer_;
  CapturedLog log_;

 private:
  std::string part(const Sample& sample, std::uint8_t supervised) const {
    std::vector<TokenId> ids;
    for (std::size_t t = 0; t < sample.ids.size(); ++t) {
      if (sample.supervised[t] == supervised) ids.push_back(sample.ids[t]);
    }
    return tokenizer_.decode(ids, {});
  }
};

TEST_F(LoadSamples, AlpacaIsTheStanfordPromptAndTheResponseTokenisedAsOneText) {
  const auto data =
      load(file("{\"instruction\":\"Add.\",\"output\":\"4\"}\n"
                "{\"instruction\":\"Add.\",\"input\":\"2+2\",\"output\":\"4\"}\n"
                "{\"instruction\":\"Add.\",\"input\":\"\",\"output\":\"4\"}\n"));
  ASSERT_EQ(data.samples.size(), 3U);
  EXPECT_EQ(prompt_of(data.samples[0]), "[BOS]" + kHead + "Add.\n\n### Response:");
  EXPECT_EQ(prompt_of(data.samples[1]),
            "[BOS]" + kHeadWithInput + "Add.\n\n### Input:\n2+2\n\n### Response:");
  EXPECT_EQ(data.samples[2].ids, data.samples[0].ids);
  for (const auto& sample : data.samples) EXPECT_EQ(targets_of(sample), " 4[EOS]");
  EXPECT_EQ(tokenizer_.segments.size(), 6U);
  EXPECT_EQ(tokenizer_.segments[0], kHead + "Add.\n\n### Response: 4");
  EXPECT_THAT(log_.text, HasSubstr("3 records, format alpaca (detected)"));
}

TEST_F(LoadSamples, IdsAndMaskAreExact) {
  const auto data =
      load(file("{\"prompt\":\"ab\",\"completion\":\"c\"}"), {.template_name = "plain"});
  ASSERT_EQ(data.samples.size(), 1U);
  EXPECT_THAT(data.samples[0].ids, ElementsAre(1001, 97, 98, 99, 1002));
  EXPECT_THAT(data.samples[0].supervised, ElementsAre(0, 0, 0, 1, 1));
  EXPECT_EQ(data.counts.records, 1);
  EXPECT_EQ(data.counts.tokens, 5);
  EXPECT_EQ(data.counts.supervised, 2);
}

TEST_F(LoadSamples, SpecialTokensInUserTextStayText) {
  const auto data =
      load(file("{\"prompt\":\"<s>\",\"completion\":\"</s>\"}"), {.template_name = "plain"});
  EXPECT_THAT(data.samples.at(0).ids, ElementsAre(1001, '<', 's', '>', '<', '/', 's', '>', 1002));
}

TEST_F(LoadSamples, WhatTheTokenizerPutsBeforeATextBeginsASample) {
  tokenizer_.prefix = {900, 901};  // GLM's [gMASK]<sop>, neither of them its BOS
  const auto data =
      load(file("{\"prompt\":\"a\",\"completion\":\"b\"}"), {.template_name = "plain"});
  EXPECT_THAT(data.samples.at(0).ids, ElementsAre(900, 901, 'a', 'b', 1002));
  EXPECT_THAT(data.samples.at(0).supervised, ElementsAre(0, 0, 0, 1, 1));
}

TEST_F(LoadSamples, BosOnlyWhereTheTokenizerStartsWithIt) {
  tokenizer_.prefix.clear();
  const auto data =
      load(file("{\"prompt\":\"\",\"completion\":\"xy\"}"), {.template_name = "plain"});
  EXPECT_THAT(data.samples.at(0).ids, ElementsAre('x', 'y', 1002));
  EXPECT_THAT(data.samples.at(0).supervised,
              ElementsAre(0, 1, 1));  // nothing predicts the first token
}

TEST_F(LoadSamples, OneIdForBosAndEosStandsAtBothEnds) {
  tokenizer_.eos_id = tokenizer_.bos_id;
  const auto data =
      load(file("{\"prompt\":\"a\",\"completion\":\"b\"}"), {.template_name = "plain"});
  EXPECT_THAT(data.samples.at(0).ids, ElementsAre(1001, 'a', 'b', 1001));
  EXPECT_THAT(data.samples.at(0).supervised, ElementsAre(0, 0, 1, 1));
}

TEST_F(LoadSamples, WithoutEosItWarns) {
  tokenizer_.eos_id.reset();
  const auto data =
      load(file("{\"prompt\":\"a\",\"completion\":\"b\"}"), {.template_name = "plain"});
  EXPECT_THAT(data.samples.at(0).ids, ElementsAre(1001, 'a', 'b'));
  EXPECT_THAT(log_.text, HasSubstr("warning: the tokenizer names no EOS token"));
}

TEST_F(LoadSamples, EveryFormatUnderEveryTemplate) {
  struct Case {
    std::string json, template_name, prompt, targets;
  };
  const std::vector<Case> cases = {
      {"{\"question\":\"q\",\"answers\":[\"a\",\"b\"]}", "plain",
       "[BOS]Question: q\nAnswer:", " a[EOS]"},
      {"{\"question\":\"q\",\"answer\":\"a\"}", "alpaca",
       "[BOS]" + kHead + "q\n\n### Response:", " a[EOS]"},
      {"{\"prompt\":\"p\",\"completion\":\"c\"}", "alpaca",
       "[BOS]" + kHead + "p\n\n### Response:", " c[EOS]"},
      {"{\"instruction\":\"i\",\"input\":\"n\",\"output\":\"o\"}", "plain", "[BOS]i\n\nn\n\n",
       "o[EOS]"},
      {"{\"instruction\":\"i\",\"input\":null,\"output\":4.5}", "plain", "[BOS]i\n\n", "4.5[EOS]"},
      {"{\"text\":\"t\"}", "alpaca", "[BOS]", "t[EOS]"}};
  for (const auto& one : cases) {
    const auto data = load(file(one.json), {.template_name = one.template_name});
    ASSERT_EQ(data.samples.size(), 1U) << one.json;
    EXPECT_EQ(prompt_of(data.samples[0]), one.prompt) << one.json;
    EXPECT_EQ(targets_of(data.samples[0]), one.targets) << one.json;
  }
}

TEST_F(LoadSamples, ColumnsAreMappedAndMayBeNested) {
  const std::string json =
      "{\"question\":\"q\",\"answer\":{\"value\":\"v\",\"aliases\":[\"v\",\"w\"]},\"a.b\":\"dot\"}";
  const auto data = load(file(json, "alpaca", "instruction=question,output=answer.aliases.1"));
  EXPECT_EQ(targets_of(data.samples.at(0)), " w[EOS]");
  EXPECT_EQ(detect_format(file(json, "auto", "instruction=question,output=a.b")), "alpaca");
  const auto qa =
      load_qa(file(json, "auto", "answer=answer.value,answers=answer.aliases"), false, log_);
  ASSERT_EQ(qa.size(), 1U);
  EXPECT_THAT(qa[0].answers, ElementsAre("v", "w"));
}

TEST_F(LoadSamples, FirstAndCountSelectRecords) {
  DataFile data_file =
      file("{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\":\"c\"}\n{\"text\":\"d\"}\n");
  data_file.first = 1;
  data_file.count = 2;
  EXPECT_THAT(load_text(data_file, false, log_), ElementsAre("b", "c"));
  data_file.first = 4;
  EXPECT_THAT(error_of<core::ConfigError>(data_file),
              HasSubstr("'f.jsonl' has 4 records; first = 4 leaves none of them"));
  data_file.count = 0;
  EXPECT_THAT(error_of<core::ConfigError>(data_file), HasSubstr("count positive"));
}

TEST_F(LoadSamples, OverlongIsCutOrDroppedAndCounted) {
  const std::string json =
      "{\"prompt\":\"ab\",\"completion\":\"cd\"}\n{\"prompt\":\"abcdef\",\"completion\":\"x\"}\n"
      "{\"prompt\":\"a\",\"completion\":\"b\"}\n";
  const auto cut = load(file(json), {.template_name = "plain", .max_length = 4});
  ASSERT_EQ(cut.samples.size(), 2U);
  EXPECT_THAT(cut.samples[0].ids, ElementsAre(1001, 'a', 'b', 'c'));
  EXPECT_THAT(cut.samples[1].ids, ElementsAre(1001, 'a', 'b', 1002));
  EXPECT_EQ(cut.counts.truncated, 1);
  EXPECT_EQ(cut.counts.dropped, 1);  // its response was cut off whole
  EXPECT_THAT(
      log_.text,
      HasSubstr(
          "warning: 1 samples were longer than 4 tokens and were cut there; they have no EOS"));
  const auto dropped =
      load(file(json), {.template_name = "plain", .max_length = 4, .overlong = "drop"});
  EXPECT_EQ(dropped.samples.size(), 1U);
  EXPECT_EQ(dropped.counts.dropped, 2);
  EXPECT_EQ(dropped.counts.truncated, 0);
}

TEST_F(LoadSamples, LongDocumentsBecomeConsecutiveSamples) {
  const auto data = load(file("abcdefg", "auto", "", "f.txt"), {.max_length = 4});
  ASSERT_EQ(data.samples.size(), 2U);  // the ninth token, EOS, would stand alone
  EXPECT_THAT(data.samples[0].ids, ElementsAre(1001, 'a', 'b', 'c'));
  EXPECT_THAT(data.samples[0].supervised, ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(data.samples[1].ids, ElementsAre('d', 'e', 'f', 'g'));
  EXPECT_THAT(data.samples[1].supervised, ElementsAre(0, 1, 1, 1));
  EXPECT_EQ(data.counts.records, 1);
  EXPECT_EQ(data.counts.samples, 2);
  EXPECT_EQ(data.counts.dropped, 1);
}

TEST_F(LoadSamples, NoSupervisedTokenAtAllIsAnError) {
  EXPECT_THAT(
      error_of<core::ConfigError>(file("{\"prompt\":\"abcdef\",\"completion\":\"x\"}"),
                                  {.template_name = "plain", .max_length = 3}),
      HasSubstr("none of the 1 records gives a sample with a supervised token: 1 have a prompt "
                "that alone fills max_length (3 tokens), so that nothing of the answer is left: "
                "raise max_length"));
  EXPECT_THAT(log_.text, HasSubstr("warning: dropped: "));
  EXPECT_THAT(log_.text, HasSubstr("f.jsonl:1:1: its prompt alone fills max_length, which is 3"));
}

TEST_F(LoadSamples, WrongColumnsListWhatIsThereAndHowToNameIt) {
  EXPECT_EQ(error_of<core::FormatError>(file("\n{\"problem\":\"p\",\"solution\":\"s\"}", "alpaca")),
            "f.jsonl:2:1: the format 'alpaca' needs the column 'instruction'; the columns found "
            "are: problem, solution; "
            "name the right one with --columns instruction=COLUMN; bad records are left out, and "
            "listed, with --skip-bad");
  EXPECT_THAT(error_of<core::FormatError>(file(R"({"question":"q","answer":null})", "qa")),
              ::testing::StartsWith(
                  "f.jsonl:1:1: the column 'answer' is null, and the format 'qa' needs its "
                  "value"));
  EXPECT_THAT(error_of<core::FormatError>(file("{\"problem\":\"p\"}")),
              HasSubstr("f.jsonl:1:1: no format fits this record; the columns found are: problem; "
                        "the formats are messages (messages), sharegpt (conversations), "
                        "alpaca (instruction, output), prompt-completion (prompt, completion), qa "
                        "(question, answer|answers), text (text)"));
  EXPECT_THAT(error_of<core::FormatError>(file("{\"text\":\"a\"}\n{\"body\":\"b\"}\n")),
              HasSubstr("f.jsonl:2:1: the format 'text' needs"));
  EXPECT_THAT(error_of<core::FormatError>(file("{\"text\":true}")),
              HasSubstr("the column 'text' must hold text; it holds a value of type boolean"));
  EXPECT_THAT(error_of<core::FormatError>(file("{\"question\":\"q\",\"answers\":[]}")),
              HasSubstr("the question has no answer"));
}

TEST_F(LoadSamples, WrongSettingsAreNamed) {
  const DataFile good = file("{\"text\":\"a\"}");
  EXPECT_THAT(error_of<core::ConfigError>(good, {.template_name = "alpacca"}),
              HasSubstr("unknown template 'alpacca' (did you mean 'alpaca'?)"));
  EXPECT_THAT(error_of<core::ConfigError>(good, {.overlong = "cut"}),
              HasSubstr("unknown treatment of overlong samples 'cut'"));
  EXPECT_THAT(error_of<core::ConfigError>(good, {.max_length = -1}), HasSubstr("it is -1"));
  EXPECT_THAT(error_of<core::ConfigError>(file("{}", "alpacas")),
              HasSubstr("unknown data format 'alpacas' (did you mean 'alpaca'?)"));
  EXPECT_THAT(error_of<core::ConfigError>(file("{}", "alpaca", "instrution=q")),
              HasSubstr("does not have (did you mean 'instruction'?); its fields are input, "
                        "system, history, instruction, output"));
  EXPECT_THAT(message_of<core::ConfigError>([&] { load_samples({}, tokenizer_, {}, log_); }),
              HasSubstr("no data file was given"));
  EXPECT_THAT(message_of<core::ConfigError>([&] { load_qa(file("{}", "text"), false, log_); }),
              HasSubstr("wanted in the format 'qa'"));
}

TEST_F(LoadSamples, EmptyAndMissingFilesAreNamed) {
  for (const char* name : {"f.jsonl", "f.json", "f.txt"}) {
    EXPECT_EQ(error_of<core::FormatError>(file("", "auto", "", name)),
              std::string(name) + ": the file is empty; it holds no record");
  }
  EXPECT_THAT(error_of<core::FormatError>(file("[]", "auto", "", "f.json")),
              HasSubstr("holds no record"));
  EXPECT_THAT(error_of<core::IoError>({.path = folder_.path() / "none.jsonl"}),
              EndsWith("'none.jsonl': No such file or directory"));
  EXPECT_THAT(error_of<core::IoError>({.path = folder_.path()}), HasSubstr("is a directory"));
}

TEST_F(LoadSamples, ErrorsInTheMiddleOfAFileNameTheLine) {
  EXPECT_THAT(error_of<core::FormatError>(
                  file("{\"text\":\"a\"}\n{\"text\":\"b\"}\n{\"text\": b}\n{\"text\":\"c\"}\n")),
              HasSubstr("f.jsonl:3:10: not valid JSON"));
  EXPECT_THAT(error_of<core::FormatError>(file(gzip("{\"text\":\"a\"}\n").substr(0, 20))),
              HasSubstr("the file is truncated"));
}

TEST_F(LoadSamples, GzippedFileGivesTheSameSamples) {
  const std::string json = "[{\"text\":\"a\"},{\"text\":\"b\"}]";
  const auto plain = load(file(json, "auto", "", "a.json"));
  const auto packed = load(file(gzip(json), "auto", "", "b.json"));
  ASSERT_EQ(packed.samples.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(packed.samples[i].ids, plain.samples[i].ids);
}

// Whether a file is JSON or plain text hangs on its name, also behind ".gz".
TEST_F(LoadSamples, CacheKnowsWhatTheNameOfAFileMakesOfIt) {
  const std::string bytes = gzip("{\"text\":\"a\"}\n{\"text\":\"b\"}\n");
  const EncodeSettings cached{.cache = folder_.path() / "cache"};
  EXPECT_EQ(load(file(bytes, "auto", "", "f.txt.gz"), cached).samples.size(), 1);
  const auto records = load(file(bytes, "auto", "", "f.jsonl.gz"), cached);
  ASSERT_EQ(records.samples.size(), 2);
  EXPECT_EQ(targets_of(records.samples[1]), "b[EOS]");
  log_.text.clear();
  EXPECT_EQ(load(file(bytes, "auto", "", "g.ndjson.gz"), cached).samples.size(), 2);
  EXPECT_THAT(log_.text, HasSubstr("tokenised data from"));  // read in one way: one cache
}

TEST(ParseColumns, ReadsPairsAndRefusesOtherThings) {
  EXPECT_EQ(
      parse_columns("instruction=question, output = answer"),
      (std::map<std::string, std::string>{{"instruction", "question"}, {"output", "answer"}}));
  EXPECT_TRUE(parse_columns("").empty());
  for (const char* wrong : {"a", "a=", "=b", "a=b,"}) {
    EXPECT_THAT(message_of<core::ConfigError>([&] { parse_columns(wrong); }),
                HasSubstr("is not of that form"))
        << wrong;
  }
  EXPECT_THAT(message_of<core::ConfigError>([] { parse_columns("a=b,a=c"); }),
              HasSubstr("names the field 'a' twice"));
}

TEST_F(LoadSamples, RecordsAreCountedAsTheyAreRead) {
  const DataFile lines = file(R"({"question": "a", "answer": "b"}
{"question": "a",

{"question": "c", "answer": "d"}
[1]
)");
  EXPECT_EQ(count_records(lines), 4);
  EXPECT_EQ(count_records(lines, /*skip_bad=*/true), 2);
  EXPECT_EQ(load(lines, {.skip_bad = true}).counts.records, 2);
  const DataFile rows = file("question,answer\na,b\nc\nd,e\n", "auto", "", "f.csv");
  EXPECT_EQ(count_records(rows, /*skip_bad=*/true), 2);
  EXPECT_THAT(message_of<core::FormatError>([&] { count_records(rows, false, "data.skip_bad"); }),
              EndsWith("; bad records are left out, and listed, with data.skip_bad"));
  EXPECT_EQ(count_records(file("a\nb\n", "auto", "", "f.txt"), /*skip_bad=*/true), 1);
}

}  // namespace
}  // namespace corda::data
