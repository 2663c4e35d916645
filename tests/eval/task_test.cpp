// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/task.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "corda/core/error.h"
#include "eval/python_text.h"
#include "eval/task_items.h"
#include "eval/task_text.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::eval {
namespace {

using corda::testing::error_of;
using ::testing::HasSubstr;
using Texts = std::vector<std::string>;

TEST(TaskText, HellaswagLosesItsMarks) {
  EXPECT_EQ(hellaswag_text(" How to bake [title] Mix [step] flour. [substeps] Wait.\n"),
            "How to bake. Mix flour. Wait.");
  EXPECT_EQ(hellaswag_text("a [b [c] d]  e   f"), "a d] e  f");  // each pair of spaces once
  EXPECT_EQ(hellaswag_text("a [b\nc] d"), "a [b\nc] d");
}

TEST(TaskText, ALongerAnswerThatBeginsWithAShorterIsLeftOut) {
  EXPECT_EQ(shortest_answers({"Rome, Italy", "Paris", "Rome", "paris"}),
            (Texts{"Paris", "Rome", "paris"}));
}

// What the harness's detokenizer gives, its slip with slashes too.
TEST(TaskText, APageIsPutTogetherAgain) {
  EXPECT_EQ(
      wikitext_page(" = Title = \n \n The river 's bank , at 1 @,@ 000 @-@ foot ( 300 m ) ; "
                    "\" deep \" . \n It cost N pounds at 5 \u00b0 C . \n"),
      " = Title =\n\nThe river's bank, at 1,000-foot (300 m); \"deep\".\nIt cost 1 pounds at 5"
      "\u00b0C.\n");
  EXPECT_EQ(wikitext_page("boys ' book = = Part = = "), "boys' book == Part == ");
  EXPECT_EQ(wikitext_page("it 's a ' quoted ' thing ( a ( b ) c ) [ x \n y ] /' 7/ end"),
            "it's a' quoted 'thing (a ( b) c ) [x\ny] /'[0-9]/ end");
}

TEST(TaskText, PagesBeginAtTitles) {
  EXPECT_EQ(wikitext_pages("\n = A = \n text \n = = Part = = \n more \n = B = \n end"),
            (Texts{" = A = \n text \n = = Part = = \n more \n", " = B = \n end"}));
}

TEST(PythonText, SpacesWordsAndCharactersAreUnicodes) {
  EXPECT_EQ(stripped("\u00a0 a b\u3000\n"), "a b");
  EXPECT_EQ(spaces_at_end("a\u2003 "), 4U);
  EXPECT_EQ(count_characters("na\u00efve \U0001F681"), 7);
  EXPECT_EQ(count_words(" a  b\u00a0c"), 4);  // the empty text in front counts
  EXPECT_EQ(count_words("a"), 1);
  EXPECT_EQ(lowered("\u00c9COLE \u0130"), "\u00e9cole i\u0307");
  EXPECT_EQ(without_punctuation("a.b-c_d \u201cx\u201d!"), "abcd \u201cx\u201d");
}

const AnswerRule& rule_of(const char* task, std::size_t i = 0) { return task_named(task).rules[i]; }

bool right(const char* task, const std::string& answer, const Texts& references,
           std::size_t rule = 0) {
  const AnswerRule& judged = rule_of(task, rule);
  return is_right(judged, extracted(judged, harness_named("0.4.13"), answer), references);
}

TEST(AnswerRule, QuestionsIgnoreCaseAndPunctuationAndSomeArticles) {
  EXPECT_TRUE(right("triviaqa", " U.S.A\n", {"x", "usa"}));
  EXPECT_FALSE(right("triviaqa", " the usa", {"usa"}));
  EXPECT_TRUE(right("nq_open", " The Usa", {"usa"}));
  EXPECT_TRUE(right("nq_open", "in a box", {"in box"}));
  EXPECT_FALSE(right("nq_open", "THE usa", {"usa"}));  // only as the pattern spells it
}

TEST(AnswerRule, VersionsStripDifferently) {
  const auto taken = [](const char* version) {
    return extracted(rule_of("triviaqa"), harness_named(version), "  a ");
  };
  EXPECT_EQ(taken("0.4.2"), " a ");
  EXPECT_EQ(taken("0.4.3"), " a ");
  EXPECT_EQ(taken("0.4.9"), "a ");
  EXPECT_EQ(taken("0.4.13"), "a");
}

TEST(AnswerRule, Gsm8kTakesTheMarkedOrTheLastNumber) {
  const Texts gold = {"He has 1,200 + 34.\n#### 1,234"};
  EXPECT_TRUE(right("gsm8k", " so\n#### 1,234 apples", gold, 0));
  EXPECT_TRUE(right("gsm8k", " so\n#### 1234.", gold, 0));
  EXPECT_FALSE(right("gsm8k", " so\n#### 1234.0", gold, 0));  // texts, not numbers
  EXPECT_FALSE(right("gsm8k", " so it is 1234", gold, 0));
  EXPECT_TRUE(right("gsm8k", " so it is $1,234.", gold, 1));
  EXPECT_FALSE(right("gsm8k", " 1234, not 7", gold, 1));
  EXPECT_EQ(extracted(rule_of("gsm8k", 0), harness_named("0.4.13"), "none"), "[invalid]");
  EXPECT_EQ(extracted(rule_of("gsm8k", 1), harness_named("0.4.13"), "a -7 b $3,0."), "$3,0.");
}

TEST(AnswerRule, MetaMathRoundsTheNumberBehindItsMark) {
  const auto judged = [](const std::string& answer, const std::string& gold = "x\n#### 1,234") {
    return right("gsm8k_metamath", answer, {gold});
  };
  EXPECT_TRUE(judged("1 The answer is: 9. The answer is: $1,234"));
  EXPECT_TRUE(judged("The answer is: 1234.4"));
  EXPECT_FALSE(judged("The answer is: 1234.6"));
  EXPECT_TRUE(judged("The answer is: 2468/2"));
  EXPECT_TRUE(judged("The answer is: 5/2", "#### 2"));               // halves to even
  EXPECT_FALSE(judged("The answer is: 1,234,567", "#### 1234567"));  // one comma is read
  EXPECT_FALSE(judged("It is 1234"));
  EXPECT_FALSE(judged("The answer is: many"));
}

class Items : public ::testing::Test {
 protected:
  std::vector<TaskRecord> read(const std::string& task, const std::string& lines,
                               const std::map<std::string, std::string>& columns = {},
                               bool skip_bad = false) {
    const auto path = folder_.path() / "d.jsonl";
    std::ofstream(path) << lines;
    return read_task_records(task_named(task), {.path = path, .columns = columns}, skip_bad, log_);
  }
  std::vector<Item> items(const std::string& task, const std::string& lines, std::int64_t shots = 0,
                          const char* harness = "0.4.13") {
    const auto records = read(task, lines);
    return make_items(task_named(task), harness_named(harness), records, records, shots);
  }
  const std::string questions_ = R"({"question":"q0","answer":["a0"]}
{"question":"q1","answer":["a1"]}
{"question":"q2","answer":["a2"]}
)";
  corda::testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

// Drawn are 2 of 3 (1, 0), of which the record itself falls out; the next draw is 0 and 1.
TEST_F(Items, ExamplesStandInFrontAndNeverTheQuestionItself) {
  const auto found = items("nq_open", questions_, 1);
  ASSERT_EQ(found.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string own = "Q: q" + std::to_string(i) + "?\nA:";
    const std::string& prompt = found[i].contexts.front();
    EXPECT_TRUE(prompt.starts_with("Answer these questions:\n\nQ: q"));
    EXPECT_TRUE(prompt.ends_with("\n" + own));
    EXPECT_EQ(prompt.find(own), prompt.size() - own.size());
  }
}

// configs/studies/peft-metamath.jinja is what PEFT's benchmark trains on.
TEST_F(Items, OfPeftsBenchmarkAreAskedAsItsTrainingShows) {
  const auto found = items("gsm8k_peft", R"({"question":"Two and two?","answer":"x\n#### 4"})"
                                         "\n");
  EXPECT_EQ(found[0].contexts.front(), "Question: Two and two? Think step by step.\nAnswer:");
  EXPECT_TRUE(right("gsm8k_peft", " 2 + 2.\nThe answer is: 4", {"x\n#### 4"}));
  EXPECT_FALSE(right("gsm8k_peft", " 2 + 2.\nThe answer is: 5", {"x\n#### 4"}));
}

TEST_F(Items, OfPeftsBenchmarkAreJudgedAsItDoes) {
  const auto is_four = [&](const std::string& answer) {
    return right("gsm8k_peft", answer, {"x\n#### 4"});
  };
  EXPECT_TRUE(is_four("so\n#### 4"));
  EXPECT_TRUE(is_four("The final answer is 4."));
  EXPECT_TRUE(is_four("The final answer is: $4.00!"));
  EXPECT_TRUE(is_four("The answer is 8/2\nQuestion: another?"));
  // The last one counts; of several marks the first in PEFT's list.
  EXPECT_TRUE(is_four("The answer is: 5. No. The answer is: 4"));
  EXPECT_TRUE(is_four("The answer is: 4\n#### 5"));
  EXPECT_FALSE(is_four("4"));
  EXPECT_FALSE(is_four("The answer is: four"));
  EXPECT_FALSE(is_four("The answer is: 4.4"));  // which MetaMath rounds
  EXPECT_FALSE(is_four("The answer is: 4/0"));
  // A comma makes a text of a number, on both sides alike.
  EXPECT_TRUE(right("gsm8k_peft", "The answer is: 1,000", {"x\n#### 1,000"}));
  EXPECT_FALSE(right("gsm8k_peft", "The answer is: 1000", {"x\n#### 1,000"}));
}

TEST_F(Items, OldVersionsTrimTheDescription) {
  EXPECT_EQ(items("nq_open", questions_, 0, "0.4.2").front().contexts.front(),
            "Answer these questions:\nQ: q0?\nA:");
}

TEST_F(Items, WinograndePutsItsOptionsIntoTheContext) {
  const auto found = items(
      "winogrande",
      R"({"sentence":"Ann paid Bea, for _ was poor .","option1":"Ann","option2":"Bea","answer":"2"})"
      "\n");
  EXPECT_EQ(found[0].contexts, (Texts{"Ann paid Bea, for Ann", "Ann paid Bea, for Bea"}));
  EXPECT_EQ(found[0].continuations, (Texts{" was poor .", " was poor ."}));
  EXPECT_EQ(found[0].right, (std::vector<std::int64_t>{1}));
}

TEST_F(Items, OwnChoicesNameTheRightOneByNumberLetterOrText) {
  for (const char* answer : {"1", "\"B\"", "\"blue\""}) {
    const auto found =
        items("multiple-choice", R"({"question":"Sky?","choices":["red","blue"],"answer":)" +
                                     std::string(answer) + "}\n");
    EXPECT_EQ(found[0].right, (std::vector<std::int64_t>{1})) << answer;
    EXPECT_EQ(found[0].continuations, (Texts{" red", " blue"}));
  }
  EXPECT_THAT(error_of<core::FormatError>([&] {
                items("multiple-choice",
                      R"({"question":"Sky?","choices":["red","blue"],"answer":"green"})"
                      "\n");
              }),
              HasSubstr("d.jsonl:1:1: the task multiple-choice cannot read it: the right choice is "
                        "one of 0 to 1, not '-1'"));
}

TEST_F(Items, AMissingColumnIsNamedAndCanBeMapped) {
  const std::string line = "{\"qText\":\"who?\",\"answers\":[\"x\"]}\n";
  EXPECT_THAT(
      error_of<core::FormatError>([&] { read("webqs", line); }),
      HasSubstr("d.jsonl:1:1: the task webqs needs the column 'question'; the columns found "
                "are: qText, answers; name the right one with --columns question=COLUMN"));
  EXPECT_THAT(error_of<core::FormatError>(
                  [&] { read("webqs", "{\"question\":null,\"answers\":[\"x\"]}\n"); }),
              HasSubstr("the column 'question' is null, and the task webqs needs its value"));
  EXPECT_EQ(read("webqs", line, {{"question", "qText"}}).size(), 1U);
  EXPECT_EQ(read("webqs", line + "{\"question\":\"q\",\"answers\":[\"y\"]}\n", {}, true).size(),
            1U);
  EXPECT_THAT(log_.text, HasSubstr("1 bad records were skipped"));
}

TEST_F(Items, TooFewExamplesAreRefused) {
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { items("nq_open", questions_, 3); }),
      HasSubstr("must hold at least 4 records for the examples to be drawn from; there are 3"));
  EXPECT_THAT(error_of<core::ConfigError>(
                  [&] { items("webqs", "{\"question\":\"q\",\"answers\":[\"y\"]}\n", 1); }),
              HasSubstr("the task webqs is asked without examples"));
}

TEST_F(Items, MmluShowsTheFirstOfItsSubject) {
  const auto line = [](const char* question, const char* subject) {
    return std::string(R"({"question":")") + question + R"(","subject":")" + subject +
           R"(","choices":["w","x","y","z"],"answer":2})" + "\n";
  };
  const std::string pool = line("p0", "law") + line("p1", "high_school_art") + line("p2", "law");
  const auto found = items("mmlu", pool, 1);
  const std::string shown = "\nA. w\nB. x\nC. y\nD. z\nAnswer:";
  EXPECT_EQ(
      found[1].contexts.front(),
      "The following are multiple choice questions (with answers) about high school art.\n\np1" +
          shown + " C\n\np1" + shown);
  EXPECT_EQ(found[2].group, "law");
  EXPECT_TRUE(found[2].contexts.front().starts_with(
      "The following are multiple choice questions (with answers) about law.\n\np0"));
}

}  // namespace
}  // namespace corda::eval
