// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Answers of the demo's model, which knows its facts.
#include "corda/eval/chat.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/eval/eval.h"
#include "corda/tokenizer/tokenizer.h"
#include "core/json.h"
#include "eval/chat_prompt.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::eval {
namespace {

namespace fs = std::filesystem;
using corda::testing::error_of;
using ::testing::HasSubstr;
using Texts = std::vector<std::string>;

const std::string kModel = (fs::path(CORDA_SOURCE_DIR) / "scripts" / "demo" / "model").string();
const std::string kRiver = "Question: Which river runs through Hendwick?\nAnswer:";
const std::string kPie = "Question: What does Lurk Heizos like to eat?\nAnswer:";

class Talk : public ::testing::Test {
 protected:
  ChatSettings settings() const {
    ChatSettings made{.model = kModel, .adapter = {}, .prompts = {}, .system = {}, .date = {}};
    made.device = "cpu";
    made.dtype = "fp32";
    made.threads = 1;
    made.answers.max_new_tokens = 12;
    return made;
  }
  std::string file(const char* name, const std::string& content) const {
    std::ofstream(folder_.path() / name) << content;
    return (folder_.path() / name).string();
  }
  EvalSettings eval(const std::string& task, const std::string& data) const {
    EvalSettings made{.model = kModel, .adapter = {}, .task = task};
    made.data = {data};
    made.device = "cpu";
    made.dtype = "fp32";
    made.threads = 1;
    return made;
  }
  std::vector<core::Json> lines_of(const fs::path& path) const {
    std::vector<core::Json> lines;
    std::ifstream stream(path);
    for (std::string line; std::getline(stream, line);) lines.push_back(core::Json::parse(line));
    return lines;
  }

  const std::string facts_ = R"({"question":"Which river runs through Hendwick?","answer":"Nolt"}
{"question":"What does Lurk Heizos like to eat?","answer":"onion"}
)";
  corda::testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

TEST_F(Talk, OnePromptIsShownAsItGrowsAndSeveralGiveTheSame) {
  ChatSettings asked = settings();
  asked.prompts = {kRiver};
  std::string shown;
  const auto one = generate_texts(
      asked, [&](std::string_view piece) { shown += piece; }, log_);
  EXPECT_THAT(one.at(0), HasSubstr("Nolt"));
  EXPECT_EQ(shown, one.at(0));
  asked.prompts = {kPie, kRiver};
  const auto two = generate_texts(asked, {}, log_);
  EXPECT_THAT(two.at(0), HasSubstr("onion pie"));
  EXPECT_EQ(two.at(1), one.at(0));
  asked.prompts = {kPie};
  asked.answers.stop = {" pie"};
  EXPECT_EQ(generate_texts(asked, {}, log_).at(0) + " pie", two.at(0));
}

TEST_F(Talk, NothingIsDrawnUnlessItIsAskedForWhateverTheModelsFilesSay) {
  const fs::path model = folder_.path() / "model";
  fs::copy(kModel, model);
  ChatSettings asked = settings();
  asked.model = model.string();
  asked.prompts = {"Mira"};
  fs::remove(model / "generation_config.json");
  const auto before = generate_texts(asked, {}, log_);
  file("model/generation_config.json", R"({"do_sample": true, "temperature": 5.0, "top_k": 0})");
  EXPECT_EQ(generate_texts(asked, {}, log_), before);
  asked.answers.temperature = 5;
  EXPECT_NE(generate_texts(asked, {}, log_), before);
}

TEST_F(Talk, DrawnAnswersDependOnTheSeedAlone) {
  ChatSettings asked = settings();
  asked.prompts = {"Mira"};
  asked.answers.temperature = 1.5;
  const auto drawn = [&](std::int64_t seed) {
    asked.answers.seed = seed;
    return generate_texts(asked, {}, log_);
  };
  EXPECT_EQ(drawn(3), drawn(3));
  EXPECT_NE(drawn(3), drawn(4));
}

TEST_F(Talk, AConversationIsForgottenByResetAndOutlivesAWrongAdapter) {
  ChatSettings asked = settings();
  asked.template_name = "alpaca";
  Chat chat(asked, log_);
  const std::string first = chat.say("Which river runs through Hendwick?", {}, log_);
  const std::string second = chat.say("Which river runs through Hendwick?", {}, log_);
  chat.reset();
  EXPECT_EQ(chat.say("Which river runs through Hendwick?", {}, log_), first);
  EXPECT_THROW(chat.use_adapter((folder_.path() / "none").string(), log_), core::IoError);
  EXPECT_EQ(chat.say("Which river runs through Hendwick?", {}, log_), second);
  asked.template_name = "auto";
  EXPECT_THAT(error_of<core::ConfigError>([&] { const Chat none(asked, log_); }),
              HasSubstr("has no chat template of its own; name one with --template"));
}

// An adapter that changes nothing, trained with Alpaca's template.
TEST_F(Talk, AnAdapterBringsTheTemplateOfItsTrainingAlong) {
  ChatSettings asked = settings();
  asked.template_name = "alpaca";
  Chat plain(asked, log_);
  const std::string expected = plain.say("Which river runs through Hendwick?", {}, log_);

  const core::Json config = core::read_json(fs::path(kModel) / "config.json");
  const std::int64_t hidden = config.at("hidden_size");
  adapter::Adapter made;
  made.rank = 2;
  made.alpha = 2;
  made.template_name = "alpaca";
  auto& layer = made.layers["model.layers.0.self_attn.q_proj"];
  layer.a = at::ones({2, hidden});
  layer.b = at::zeros({hidden, 2});
  const fs::path directory = folder_.path() / "adapter";
  fs::create_directory(directory);
  adapter::write_adapter(directory, made);
  asked.template_name = "auto";
  asked.adapter = directory.string();
  Chat adapted(asked, log_);
  EXPECT_EQ(adapted.say("Which river runs through Hendwick?", {}, log_), expected);
  // So are data that are scored, without a word against it.
  EvalSettings scored =
      eval("perplexity", file("chats.jsonl", R"({"messages": [)"
                                             R"({"role": "user", "content": "A river?"}, )"
                                             R"({"role": "assistant", "content": "Nolt"}]})"
                                             "\n"));
  scored.template_name = "alpaca";
  const double nll = evaluate(scored, log_).nll;
  scored.template_name = "auto";
  EXPECT_THROW(evaluate(scored, log_), core::Error);
  scored.adapter = directory.string();
  log_.text.clear();
  EXPECT_EQ(evaluate(scored, log_).nll, nll);
  EXPECT_THAT(log_.text, HasSubstr("template alpaca, with which the adapter was trained"));
  // The base has no template of its own to go on with.
  EXPECT_THROW(adapted.use_adapter("", log_), core::ConfigError);
  EXPECT_NE(adapted.say("Which river runs through Hendwick?", {}, log_), "");
}

TEST_F(Talk, PredictionsKeepWhatWasAnsweredAndCompareCountsWhatChanged) {
  EvalSettings asked = eval("qa", file("f.jsonl", facts_));
  const std::string kept = (folder_.path() / "kept.jsonl").string();
  asked.predictions = kept;
  const EvalResult result = evaluate(asked, log_);
  EXPECT_EQ(result.score, 50.0);
  auto lines = lines_of(kept);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].at("prompt"), kRiver);
  EXPECT_THAT(lines[0].at("answer").get<std::string>(), HasSubstr("Nolt"));
  EXPECT_EQ(lines[1].at("references"), core::Json::array({"onion"}));
  EXPECT_EQ(lines[0].at("scores").at("exact_match"), 1.0);

  lines[0]["scores"]["exact_match"] = 0;
  lines[1]["scores"]["exact_match"] = 1;
  asked.predictions = "";
  asked.compare = file("other.jsonl", lines[0].dump() + "\n" + lines[1].dump() + "\n");
  const Comparison compared = evaluate(asked, log_).comparisons.at(0);
  EXPECT_EQ(compared.metric, "exact_match");
  EXPECT_EQ(compared.gained, 1);
  EXPECT_EQ(compared.lost, 1);
  EXPECT_EQ(compared.other, 0.5);

  lines[1]["prompt"] = "x";
  asked.compare = file("other.jsonl", lines[0].dump() + "\n" + lines[1].dump() + "\n");
  EXPECT_THAT(
      error_of<core::FormatError>([&] { evaluate(asked, log_); }),
      HasSubstr("other.jsonl:2: the prompt is not that of item 1 here; --compare takes what "
                "--predictions wrote with the same --task, --data"));
}

TEST_F(Talk, QaGoesThroughATemplateWhereOneIsNamed) {
  EvalSettings asked = eval("qa", file("f.jsonl", facts_));
  asked.template_name = "alpaca";
  const EvalResult result = evaluate(asked, log_);
  EXPECT_EQ(result.samples, 2);
  EXPECT_EQ(result.tokens, 0);  // no likelihood of an answer behind a template's prompt
}

TEST_F(Talk, ChoicesAreTheLikeliestContinuations) {
  const EvalResult result = evaluate(
      eval(
          "multiple-choice",
          file(
              "c.jsonl",
              R"({"question":"Which river runs through Hendwick?","choices":["Sarn","Nolt","May"],"answer":"Nolt"}
{"question":"What does Lurk Heizos like to eat?","choices":["onion pie","smoked eel"],"answer":"B"}
)")),
      log_);
  ASSERT_EQ(result.metrics.size(), 2U);
  EXPECT_EQ(result.metrics[0].name, "acc");
  EXPECT_EQ(result.metrics[0].value, 0.5);
  EXPECT_EQ(result.metrics[0].error, 0.5);
  EXPECT_EQ(result.harness, "0.4.13");
}

// The end of a message belongs to the template, and so does trimming it.
TEST_F(Talk, AnAnswerMayBeBegun) {
  const auto tokenizer = tokenizer::load_tokenizer(kModel);
  const auto prompt = [&](const std::string& name) {
    const ChatPrompts chat(name, kModel, *tokenizer, "");
    return tokenizer->decode(chat.ids_of({{"user", " q "}}, "Here:\n```\n"));
  };
  const std::string trims = file(
      "trims.jinja", "{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}[/]{% endfor %}");
  EXPECT_EQ(prompt(trims), "[user]q[/][assistant]Here:\n```\n");
  EXPECT_THAT(prompt("alpaca"), ::testing::EndsWith("### Response: Here:\n```\n"));
  const std::string loud =
      file("loud.jinja", "{% for m in messages %}{{ m.content | upper }}{% endfor %}");
  EXPECT_THAT(error_of<core::FormatError>([&] { prompt(loud); }),
              HasSubstr("the chat template changes the beginning of an answer"));
}

TEST_F(Talk, GenerateWritesWhatAScorerReads) {
  EvalSettings asked = eval(
      "generate",
      file(
          "h.jsonl",
          R"({"task_id":"HumanEval/0","prompt":"Question: Which river runs through Hendwick?\nAnswer:","entry_point":"f"}
{"task_id":"HumanEval/1","prompt":"Mira","entry_point":"g"}
)"));
  EXPECT_THAT(error_of<core::ConfigError>([&] { evaluate(asked, log_); }),
              HasSubstr("name it with --predictions"));
  asked.predictions = (folder_.path() / "a.jsonl").string();
  asked.answers.max_new_tokens = 8;
  EXPECT_EQ(evaluate(asked, log_).score_name, "HumanEval");
  const auto lines = lines_of(asked.predictions);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1].at("task_id"), "HumanEval/1");
  EXPECT_THAT(lines[0].at("completion").get<std::string>(), HasSubstr("Nolt"));
  asked.data = {file("c.jsonl", R"({"id":"HumanEval/7","prompt":"Mira","entry_point":"f"})")};
  asked.columns = "task_id=id";
  evaluate(asked, log_);
  EXPECT_EQ(lines_of(asked.predictions).at(0).at("task_id"), "HumanEval/7");
  asked.columns = "";

  asked.data = {file(
      "m.jsonl", R"({"question_id":81,"category":"writing","turns":["Which river?","Which mayor?"]}
{"question_id":82,"category":"math","turns":["One only"]}
)")};
  asked.template_name = "alpaca";
  evaluate(asked, log_);
  const auto judged = lines_of(asked.predictions);
  EXPECT_EQ(judged.at(0).at("choices").at(0).at("turns").size(), 2U);
  EXPECT_EQ(judged.at(1).at("choices").at(0).at("turns").size(), 1U);

  // A turn that does not fit behind the others is answered by nothing; what others said is kept.
  const std::string much(2000, 'x');
  asked.data = {file("l.jsonl", R"({"question_id":81,"category":"math","turns":["Which?",")" +
                                    much + "\"]}\n" +
                                    R"({"question_id":82,"category":"math","turns":["Who?"]})")};
  evaluate(asked, log_);
  const auto cut = lines_of(asked.predictions);
  EXPECT_EQ(cut.at(0).at("choices").at(0).at("turns").at(1), "");
  EXPECT_NE(cut.at(0).at("choices").at(0).at("turns").at(0), "");
  EXPECT_THAT(log_.text, HasSubstr("question 1, turn 2: the conversation has "));
  asked.data = {
      file("l.jsonl", R"({"question_id":81,"category":"math","turns":[")" + much + "\"]}\n")};
  EXPECT_THAT(error_of<core::ConfigError>([&] { evaluate(asked, log_); }),
              HasSubstr("with an answer of 8 at most 248 fit; lower --max-new-tokens"));

  asked.data = {
      file("p.jsonl",
           R"({"task_id":"Mbpp/2","prompt":"\nMira\n","entry_point":"f","base_input":[[1]]}
{"task_id":"Mbpp/3","prompt":"Nolt","entry_point":"g","base_input":[]}
)")};
  asked.template_name = "auto";
  EXPECT_EQ(evaluate(asked, log_).score_name, "MBPP+");
  const auto solved = lines_of(asked.predictions);
  ASSERT_EQ(solved.size(), 2U);
  EXPECT_EQ(solved[0].at("task_id"), "Mbpp/2");
  EXPECT_THAT(solved[0].at("solution").get<std::string>(), ::testing::StartsWith("Mira\n"));
  asked.template_name = "alpaca";
  evaluate(asked, log_);
  EXPECT_THAT(lines_of(asked.predictions).at(0).at("solution").get<std::string>(),
              ::testing::Not(HasSubstr("Mira\n")));

  asked.data.push_back(
      file("h.jsonl", R"({"task_id":"HumanEval/0","prompt":"p","entry_point":"f","base_input":[]})"
                      "\n"));
  EXPECT_THAT(error_of<core::FormatError>([&] { evaluate(asked, log_); }),
              HasSubstr("question 3 of the data is not of MBPP+, as the first is"));
  asked.data = {file("x.jsonl", "{\"a\":1}\n")};
  EXPECT_THAT(error_of<core::FormatError>([&] { evaluate(asked, log_); }),
              HasSubstr("the data are of no scorer that --task generate knows; it knows them by "
                        "their columns: HumanEval (task_id, prompt, entry_point)"));
}

// MBPP shows three of its problems, which stand in the data or in a file of their own.
TEST_F(Talk, GenerateTakesTheExamplesOfMbppFromAFileOfTheirOwn) {
  const auto problem = [](int number, const std::string& text) {
    return core::Json({{"task_id", number},
                       {"text", text},
                       {"code", "def f(): pass"},
                       {"test_list", {"assert f() is None"}}})
               .dump() +
           "\n";
  };
  EvalSettings asked = eval("generate", file("mbpp.jsonl", problem(11, "Mira")));
  asked.predictions = (folder_.path() / "a.jsonl").string();
  asked.answers.max_new_tokens = 4;
  EXPECT_EQ(evaluate(asked, log_).score_name, "MBPP");
  EXPECT_THAT(log_.text, HasSubstr("MBPP is asked without its examples"));
  log_.text.clear();
  asked.shots_data = {file("shown.jsonl", problem(2, "Nolt"))};
  evaluate(asked, log_);
  EXPECT_THAT(log_.text, ::testing::Not(HasSubstr("without its examples")));
  asked.template_name = "alpaca";
  EXPECT_EQ(error_of<core::ConfigError>([&] { evaluate(asked, log_); }),
            "'shots_data' is for questions that are put with examples, and MBPP has none in "
            "messages");
}

}  // namespace
}  // namespace corda::eval
