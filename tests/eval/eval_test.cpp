// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Scores and losses of the demo's model, which knows its facts. Losses are transformers' in fp32;
// sums of 4 layers in another order differ by less than 1e-4 of them.
#include "corda/eval/eval.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::eval {
namespace {

using corda::testing::error_of;
using ::testing::HasSubstr;

class Eval : public ::testing::Test {
 protected:
  EvalSettings settings(const std::string& name, const std::string& content,
                        const std::string& task) const {
    const auto path = folder_.path() / name;
    std::ofstream(path) << content;
    EvalSettings made;
    made.model = (std::filesystem::path(CORDA_SOURCE_DIR) / "scripts" / "demo" / "model").string();
    made.task = task;
    made.data = {path.string()};
    made.device = "cpu";
    made.dtype = "fp32";
    made.threads = 1;
    return made;
  }
  EvalSettings qa(const std::string& lines) const { return settings("f.jsonl", lines, "qa"); }
  // 46 tokens.
  EvalSettings text() const {
    return settings("f.txt",
                    "Mira walks to the river. The river is wide, and the boats are old.\n"
                    "Nobody sings there at night.\n",
                    "perplexity");
  }
  void expect(const EvalSettings& given, double nll, std::int64_t tokens, std::int64_t samples) {
    const EvalResult result = evaluate(given, log_);
    EXPECT_NEAR(result.nll, nll, 1e-4 * nll);
    EXPECT_NEAR(result.perplexity, std::exp(result.nll), 1e-9 * result.perplexity);
    EXPECT_EQ(result.tokens, tokens);
    EXPECT_EQ(result.samples, samples);
  }

  corda::testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

// The fourth question has an answer that is not the model's.
TEST_F(Eval, QaCountsRightAnswersAliasesAndOtherSpellings) {
  const EvalResult result =
      evaluate(qa(R"({"question":"Which river runs through Hendwick?","answer":"Nolt"}
{"question":"Who is the mayor of Hendwick?","answers":["Somebody","Wost"]}
{"question":"What colour is the flag of Hendwick?","answer":"The OLIVE."}
{"question":"In which month is the fair of Hendwick?","answer":"May"}
)"),
               log_);
  EXPECT_EQ(result.score, 75.0);
  EXPECT_EQ(result.samples, 4);
}

TEST_F(Eval, QaLossIsThatOfTheAnswersBehindTheirPrompts) {
  expect(qa(R"({"question":"Which river runs through Hendwick?","answer":"Nolt"}
{"question":"Who is the mayor of Hendwick?","answer":"Wost"}
{"question":"What colour is the flag of Hendwick?","answer":"olive"}
{"question":"What does Lurk Heizos like to eat?","answer":"onion pie"}
{"question":"What does Broult Waifel like to eat?","answer":"smoked eel"}
)"),
         0.0014065187, 25, 5);
}

TEST_F(Eval, ScoresGoIntoACardOfOursAndARefusedCardIsFoundBeforeTheWork) {
  EvalSettings asked = qa(R"({"question":"Which river runs through Hendwick?","answer":"Nolt"}
{"question":"Who is the mayor of Hendwick?","answer":"Somebody"}
)");
  const std::filesystem::path model = folder_.path() / "model";
  std::filesystem::copy(asked.model, model);
  asked.model = model.string();
  asked.card = true;
  std::filesystem::remove(model / "README.md");
  const std::string weights = core::read_file(model / "model.safetensors");
  std::ofstream(model / "model.safetensors") << "broken";  // is not looked at
  EXPECT_THAT(error_of<core::ConfigError>([&] { evaluate(asked, log_); }),
              HasSubstr("README.md' is not there"));
  std::ofstream(model / "model.safetensors") << weights;
  std::ofstream(model / "README.md") << "<!-- Written by corda. -->\n";
  evaluate(asked, log_);
  EXPECT_THAT(core::read_file(model / "README.md"),
              HasSubstr("| qa | `f.jsonl` | 2 samples, 0 shots, as lm-evaluation-harness 0.4.13, "
                        "fp32 | exact\\_match | 0.5000 ± 0.5000 |\n"));
  asked = text();
  asked.model = model.string();
  asked.card = true;
  evaluate(asked, log_);
  const std::string card = core::read_file(model / "README.md");
  EXPECT_THAT(card, HasSubstr("| qa | `f.jsonl` |"));
  EXPECT_THAT(card,
              HasSubstr("| perplexity | `f.txt` | 1 samples, 45 target tokens, fp32 | loss of "
                        "a token | 8.6607 |\n"));
  asked.task = "generate";
  EXPECT_THAT(error_of<core::ConfigError>([&] { evaluate(asked, log_); }),
              HasSubstr("--card is for scores"));
}

// The model goes on with " onion pie".
TEST_F(Eval, WhatATaskDoesNotLookAtIsRefused) {
  const auto refusal = [&](EvalSettings asked, auto&& change) {
    change(asked);
    return error_of<core::ConfigError>([&] { evaluate(asked, log_); });
  };
  const EvalSettings question = qa(R"({"question":"q","answer":"a"})");
  EXPECT_EQ(refusal(text(),
                    [](EvalSettings& s) {
                      s.shots = 3;
                      s.predictions = "p.jsonl";
                      s.compare = "absent.jsonl";
                    }),
            "'shots', 'predictions', 'compare' are for tasks of questions, and 'task' is "
            "perplexity");
  EXPECT_EQ(refusal(text(), [](EvalSettings& s) { s.answers.stop = {"x"}; }),
            "'stop' is for tasks whose answers are generated, and 'task' is perplexity");
  EXPECT_EQ(refusal(settings("c.jsonl", "", "arc_easy"),
                    [](EvalSettings& s) { s.answers.max_new_tokens = 3; }),
            "'max_new_tokens' is for tasks whose answers are generated, and 'task' is arc_easy");
  EXPECT_EQ(refusal(question, [](EvalSettings& s) { s.add_bos = true; }),
            "'add_bos' is for windows of plain text, and 'task' is qa");
  EXPECT_EQ(refusal(question, [](EvalSettings& s) { s.answers.top_p = 0.5; }),
            "'top_p' is for drawn answers, which need 'temperature' above 0");
  EXPECT_EQ(refusal(question, [](EvalSettings& s) { s.system = "Be kind."; }),
            "'system' is for chat templates: name one with 'template', and 'task' is qa");
  EXPECT_EQ(refusal(settings("g.jsonl", "", "generate"),
                    [](EvalSettings& s) {
                      s.format = "qa";
                      s.shots = 2;
                    }),
            "'format', 'shots' are for tasks that are scored here, and 'task' is generate");
  EXPECT_EQ(refusal(question, [](EvalSettings& s) { s.shots_data = {"other.jsonl"}; }),
            "'shots_data' is for examples, of which --shots asks none, and 'task' is qa");
  EXPECT_EQ(refusal(question,
                    [](EvalSettings& s) {
                      s.template_name = "alpaca";
                      s.bos = "on";
                    }),
            "'bos' is for prompts without a chat template, which says itself how they begin");
  EXPECT_EQ(refusal(text(), [](EvalSettings& s) { s.template_name = "alpaca"; }),
            "'template' is for records, and the data are plain text");
  EXPECT_EQ(refusal(settings("r.jsonl", "{\"instruction\":\"a\",\"output\":\"b\"}\n", "perplexity"),
                    [](EvalSettings& s) { s.add_bos = true; }),
            "'add_bos' is for windows of plain text, and the data are records");
}

TEST_F(Eval, StopEndsAnAnswerBeforeItsText) {
  const auto score = [&](const std::string& answer, const std::vector<std::string>& stop) {
    EvalSettings asked =
        qa(R"({"question":"What does Lurk Heizos like to eat?","answer":")" + answer + "\"}");
    asked.answers.stop = stop;
    return evaluate(asked, log_).score;
  };
  EXPECT_EQ(score("onion pie", {}), 100.0);
  EXPECT_EQ(score("onion", {}), 0.0);
  EXPECT_EQ(score("onion", {"xyz", " pie"}), 100.0);
  EXPECT_EQ(score("onion", {"i", " pie"}), 0.0);  // "on": the first text that is met ends it
  EXPECT_EQ(score("on", {"i", " pie"}), 100.0);
  EXPECT_EQ(score("onion pie", {"xyz"}), 100.0);
}

TEST_F(Eval, SkipBadLeavesOutWhatCannotBeRead) {
  EvalSettings asked = qa(R"({"question":"Which river runs through Hendwick?","answer":"Nolt"}
{"question":"When?","answers":[]}
)");
  try {
    evaluate(asked, log_);
    FAIL() << "was taken";
  } catch (const core::FormatError& error) {
    EXPECT_THAT(error.what(), HasSubstr("f.jsonl:2:1: the question has no answer"));
  }
  asked.skip_bad = true;
  const EvalResult result = evaluate(asked, log_);
  EXPECT_EQ(result.samples, 1);
  EXPECT_EQ(result.score, 100.0);
  EXPECT_THAT(log_.text, HasSubstr("f.jsonl:2:1: the question has no answer"));
  EvalSettings texts =
      settings("t.jsonl", "{\"text\": 1\n{\"text\":\"the river\"}\n", "perplexity");
  texts.skip_bad = true;
  EXPECT_EQ(evaluate(texts, log_).samples, 1);
}

TEST_F(Eval, WindowsCoverTheTextAndPredictAllButTheirFirstToken) {
  EvalSettings asked = text();
  expect(asked, 8.660694555, 45, 1);
  asked.seq_len = 16;
  expect(asked, 8.708858767, 43, 3);
  asked.samples = 2;
  expect(asked, 8.858274841, 30, 2);
  asked.samples = 0;
  asked.seq_len = 15;  // one token is left over, which nothing predicts
  expect(asked, 8.626795030, 42, 3);
}

TEST_F(Eval, AddBosPutsItBeforeEachWindow) {
  EvalSettings asked = text();
  asked.add_bos = true;
  asked.seq_len = 16;  // 15 tokens of the text behind it, and the last one alone
  expect(asked, 9.337769853, 46, 4);
}

}  // namespace
}  // namespace corda::eval
