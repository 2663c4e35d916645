// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What --task generate asks beside what the scorers' own programs ask: prompts, stops, and how long
// answers may be. Each is skipped where CORDA_PYTHON has not its package.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "corda/core/file.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"
#include "eval/chat_prompt.h"
#include "eval/scorer_answers.h"
#include "interop/interop.h"

namespace corda {
namespace {

using core::Json;

class ScorersAsked : public testing::Interop {
 protected:
  void SetUp() override {
    testing::Interop::SetUp();
    core::write_file_atomic(template_,
                            "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>"
                            "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}");
    tokenizer_ = tokenizer::load_tokenizer(model_);
  }

  // Null where the scorer's package is missing.
  Json theirs(const std::string& scorer, const Json& record) const {
    const auto question = scratch_.path() / "question.json";
    core::write_file_atomic(question, core::json_line(record));
    const auto result =
        testing::python("scorers_ask.py", {scorer, question.string(), model_, template_});
    if (result.exit_code == 77) return nullptr;
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return core::parse_json(result.out, "asked");
  }

  static void expect_alike(const eval::ScorerAsk& ask, const std::string& prompt,
                           const Json& expected) {
    EXPECT_EQ(prompt, expected.at("prompt"));
    EXPECT_EQ(Json(ask.stops), expected.at("stops"));
    EXPECT_EQ(ask.max_new_tokens, expected.at("max_new_tokens"));
  }

  void expect_text(const Json& record, const Json& expected) const {
    const eval::ScorerAsk& ask = eval::form_of(record)->text;
    expect_alike(ask, eval::filled(ask.prompt, record), expected.at("text"));
  }

  void expect_message(const Json& record, const Json& expected) const {
    const eval::ScorerAsk& ask = eval::form_of(record)->message;
    const eval::ChatPrompts chat(template_, model_, *tokenizer_, "");
    const auto ids =
        chat.ids_of({{"user", eval::filled(ask.prompt, record)}}, eval::filled(ask.begun, record));
    expect_alike(ask, tokenizer_->decode(ids), expected.at("message"));
  }

  const std::string model_ = (testing::kSource / "scripts" / "demo" / "model").string();
  const std::string template_ = (scratch_.path() / "own.jinja").string();
  std::shared_ptr<const tokenizer::Tokenizer> tokenizer_;
};

TEST_F(ScorersAsked, HumanEvalIsTheHarnesssTasksHumanevalAndHumanevalInstruct) {
  const Json record = {{"task_id", "HumanEval/0"},
                       {"prompt", "\ndef f(x):\n    \"\"\"Twice x.\"\"\"\n"},
                       {"entry_point", "f"}};
  const Json expected = theirs("human-eval", record);
  if (expected.is_null()) GTEST_SKIP() << "no package lm_eval";
  expect_text(record, expected);
  expect_message(record, expected);
}

// What stands in front of the question is the same prompts with their answers.
TEST_F(ScorersAsked, MbppAsTextIsTheHarnesssTask) {
  const Json record = {{"task_id", 11},
                       {"text", "Add one."},
                       {"code", "def f(x):\r\n  return x + 1"},
                       {"test_list", {"assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4"}}};
  const Json expected = theirs("mbpp", record);
  if (expected.is_null()) GTEST_SKIP() << "no package lm_eval";
  expect_text(record, expected);
  EXPECT_EQ(eval::filled(eval::form_of(record)->example, record),
            expected.at("text").at("example").get<std::string>() + "\n\n");
}

TEST_F(ScorersAsked, MbppPlusIsWhatEvalPlussCodegenAsks) {
  const std::string problem = "\"\"\"\nAdd one.\nassert f(1) == 2\n\"\"\"";
  const Json record = {{"task_id", "Mbpp/901"},
                       {"prompt", problem + "\n"},
                       {"entry_point", "f"},
                       {"base_input", {{1}}}};
  const Json expected = theirs("mbpp-plus", record);
  if (expected.is_null()) GTEST_SKIP() << "no package evalplus";
  expect_text(record, expected);
  expect_message(record, expected);
  // MBPP's own records make the same message.
  expect_message({{"task_id", 901},
                  {"text", "Add one."},
                  {"code", ""},
                  {"test_list", {"assert f(1) == 2", "x", "y"}}},
                 expected);
}

TEST_F(ScorersAsked, IfevalIsTheHarnesssTask) {
  const Json record = {
      {"key", 1000}, {"prompt", " Say yes.\n"}, {"instruction_id_list", {"punctuation:no_comma"}}};
  const Json expected = theirs("ifeval", record);
  if (expected.is_null()) GTEST_SKIP() << "no package lm_eval";
  expect_message(record, expected);
}

}  // namespace
}  // namespace corda
