// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "eval/answer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>

#include "eval/predictions.h"
#include "eval/prompt_encoder.h"
#include "eval/scorer_answers.h"
#include "eval/task_score.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::eval {
namespace {

using Texts = std::vector<std::string>;

TEST(Stops, EachCutsWhatTheOthersLeft) {
  EXPECT_EQ(cut_at_stops("a b c", {"c", "b"}), "a ");
  EXPECT_EQ(cut_at_stops("on", {"i", " pie"}), "on");
  EXPECT_EQ(cut_at_stops("x.ab", {"ab", ".ab"}), "x.");  // the second is no longer there
}

// A tokenizer whose tokens are bytes.
class GrowingAnswerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(folder_.path(), {.vocab = 257});
    tokenizer_ = tokenizer::load_tokenizer(folder_.path());
  }
  corda::testing::TemporaryDirectory folder_;
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
};

TEST_F(GrowingAnswerTest, WhatIsShownNeverHasToBeTakenBack) {
  const std::string text = "gr\u00fc\u00df <sto and <stop> more";
  const Texts stops = {"<stop>", "never"};
  const std::vector<TokenId> ids = tokenizer_->encode(text);
  GrowingAnswer answer(*tokenizer_, stops);
  std::string shown;
  std::size_t taken = 0;
  for (std::size_t n = 1; n <= ids.size(); ++n) {
    taken = n;
    const bool ended = answer.grow(std::span(ids).first(n));
    EXPECT_TRUE(std::string(answer.certain()).starts_with(shown));
    shown = answer.certain();
    if (ended) break;
  }
  EXPECT_EQ(shown, "gr\u00fc\u00df <sto and ");
  EXPECT_EQ(taken, std::string("gr\u00fc\u00df <sto and <stop>").size());
}

class PromptEncoderTest : public GrowingAnswerTest {
 protected:
  std::vector<TokenId> encoded(const char* harness, const char* bos, const std::string& text,
                               bool literal = false) const {
    return PromptEncoder(*tokenizer_, harness_named(harness), bos, literal).encode(text);
  }
};

using Ids = std::vector<TokenId>;

// Byte b is token b + 1, and the tokenizer puts token 0, BOS and EOS, in front.
TEST_F(PromptEncoderTest, BosIsTheTokenizersOrThatOfTheVersionOrAsAsked) {
  EXPECT_EQ(encoded("0.4.13", "auto", "a"), Ids({0, 98}));
  EXPECT_EQ(encoded("0.4.9", "auto", "a"), Ids({98}));
  EXPECT_EQ(encoded("0.4.2", "on", "a"), Ids({0, 98}));
  EXPECT_EQ(encoded("0.4.13", "off", "a"), Ids({98}));
  EXPECT_EQ(PromptEncoder(*tokenizer_, harness_named("0.4.13"), "auto", false).bos(), "on");
  EXPECT_EQ(PromptEncoder(*tokenizer_, harness_named("0.4.2"), "auto", false).bos(), "off");
}

TEST_F(PromptEncoderTest, ATextThatBeginsWithBosGetsNoOtherUnlessItIsLiteral) {
  EXPECT_EQ(encoded("0.4.13", "auto", "<|endoftext|>a"), Ids({0, 98}));
  const Ids literal = encoded("0.4.13", "auto", "<|endoftext|>a", /*literal=*/true);
  EXPECT_EQ(literal.size(), 15U);
  EXPECT_EQ(literal[0], 0);
  EXPECT_EQ(literal[1], '<' + 1);
}

TEST(Code, IsWhatStandsBeforeTheEndOfTheBlockOrInAnother) {
  EXPECT_EQ(code_in("def f():\n  pass\n```\nIt passes:\n```python\nx\n```"), "def f():\n  pass\n");
  EXPECT_EQ(code_in("x = '```'\n"), "x = '```'\n");  // no line begins with it
  EXPECT_EQ(code_in("Sure:\n```python"), "");
  EXPECT_EQ(code_in("Sure:\n```python\ndef f():\n  pass\n```\nand\n```\nx\n```"),
            "def f():\n  pass\n");
  EXPECT_EQ(code_in("  return 1\n"), "  return 1\n");
  EXPECT_EQ(code_in("```\nx = 1"), "x = 1");
}

TEST(ScorerForms, ColumnsTellThemApartAndLinesAreTheScorers) {
  const core::Json human = {
      {"task_id", "HumanEval/0"}, {"prompt", "def f():\n"}, {"entry_point", "f"}};
  const core::Json mbpp = {
      {"task_id", 11}, {"text", "t"}, {"code", "c"}, {"test_list", {"a", "b", "c"}}};
  core::Json chosen = mbpp;
  chosen["prompt"] = "p";
  chosen.erase("text");
  core::Json plus = {{"task_id", "Mbpp/2"},
                     {"prompt", "\"\"\"\nAdd.\nassert f(1) == 2\n\"\"\"\n"},
                     {"entry_point", "f"},
                     {"base_input", {{1}}}};
  const core::Json bench = {{"question_id", 81}, {"category", "writing"}, {"turns", {"a", "b"}}};
  const core::Json rules = {{"key", 1000}, {"prompt", "p"}, {"instruction_id_list", {"x"}}};
  const auto line = [](const core::Json& record, const Texts& answers) {
    return form_of(record)->line(record, answers, "models/mine/");
  };
  EXPECT_EQ(line(human, {"    return 1\n"}).dump(),
            R"({"task_id":"HumanEval/0","completion":"    return 1\n"})");
  EXPECT_EQ(line(mbpp, {"x = 1"}).dump(), R"({"task_id":"Mbpp/11","solution":"x = 1"})");
  EXPECT_EQ(line(chosen, {"x = 1"}).dump(), R"({"task_id":"Mbpp/11","solution":"x = 1"})");
  EXPECT_EQ(line(plus, {"x = 1"}).dump(), R"({"task_id":"Mbpp/2","solution":"x = 1"})");
  EXPECT_EQ(form_of(plus)->name, "MBPP+");
  plus["task_id"] = "HumanEval/2";  // EvalPlus's file of HumanEval
  EXPECT_EQ(form_of(plus)->name, "HumanEval");
  EXPECT_EQ(line(rules, {"r"}).dump(), R"({"prompt":"p","response":"r"})");
  const core::Json judged = line(bench, {"one", "two"});
  EXPECT_EQ(judged.at("question_id"), 81);
  EXPECT_EQ(judged.at("model_id"), "mine");
  EXPECT_EQ(judged.at("choices").dump(), R"([{"index":0,"turns":["one","two"]}])");
  EXPECT_EQ(judged.at("answer_id").get<std::string>().size(), 22U);
  EXPECT_EQ(form_of(bench)->temperature(bench), 0.7);
  EXPECT_EQ(form_of({{"x", 1}}), nullptr);
}

// lm-evaluation-harness's max_gen_toks, EvalPlus's and FastChat's max_new_tokens.
TEST(ScorerForms, AnswersAreAsLongAsTheirScorersOwnProgramsMakeThem) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> found;
  for (const ScorerForm& form : scorer_forms())
    found[form.name] = {form.text.max_new_tokens, form.message.max_new_tokens};
  const decltype(found) expected = {{"HumanEval", {1024, 1024}},
                                    {"MBPP", {256, 768}},
                                    {"MBPP+", {768, 768}},
                                    {"MT-Bench", {1024, 1024}},
                                    {"IFEval", {1280, 1280}}};
  EXPECT_EQ(found, expected);
}

TEST(ScorerForms, CodeIsCutOutOfMessagesAlone) {
  const core::Json record = {{"task_id", "Mbpp/2"}, {"prompt", "\n\"Add.\"\n\n"}};
  const std::string answer = "\tx = 1\n```\nDone.";
  const auto kept = [&](std::size_t form, bool message) {
    const ScorerForm& of = scorer_forms().at(form);
    const ScorerAsk& ask = message ? of.message : of.text;
    return ask.kept == nullptr ? answer : ask.kept(record, answer);
  };
  ASSERT_EQ(scorer_forms().at(1).name, "MBPP+");
  EXPECT_EQ(kept(0, false), answer);
  EXPECT_EQ(kept(0, true), "\tx = 1\n");
  EXPECT_EQ(kept(1, false), "\"Add.\"\n    x = 1\n```\nDone.");  // the problem and what follows
  EXPECT_EQ(kept(1, true), "    x = 1\n");
  EXPECT_EQ(kept(2, false), answer);
  EXPECT_EQ(kept(2, true), "    x = 1\n");
}

TEST(ScorerForms, AnswersToMtBenchAreStripped) {
  const ScorerForm& form =
      *form_of({{"question_id", 81}, {"category", "writing"}, {"turns", {"a"}}});
  EXPECT_EQ(form.message.kept({}, "\n \u00a0Two\nlines \n"), "Two\nlines");
}

// Of 10 coins 2 or fewer, or 8 or more, show heads with probability 2 (1 + 10 + 45) / 1024.
TEST(Mcnemar, IsTheTwoSidedBinomialTest) {
  EXPECT_NEAR(mcnemar(2, 8), 112.0 / 1024, 1e-12);
  EXPECT_NEAR(mcnemar(8, 2), 112.0 / 1024, 1e-12);
  EXPECT_EQ(mcnemar(3, 3), 1.0);
  EXPECT_EQ(mcnemar(0, 0), 1.0);
  EXPECT_NEAR(mcnemar(0, 20), 2.0 / (1 << 20), 1e-15);
}

// 1 0 0 1: mean 1/2, squares of 1/4 each, sqrt(1 / 3) / 2.
TEST(MeanMetric, HasTheStandardErrorOfASample) {
  const Metric metric = mean_metric("m", {1, 0, 0, 1});
  EXPECT_EQ(metric.value, 0.5);
  EXPECT_NEAR(metric.error.value(), 0.28867513459481287, 1e-15);
  EXPECT_FALSE(mean_metric("m", {1}).error.has_value());
}

}  // namespace
}  // namespace corda::eval
