// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// `corda generate` and `corda chat`, seen from outside.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::ProcessResult;

class Talk : public ::testing::Test {
 protected:
  const std::string model_ =
      (std::filesystem::path(CORDA_SOURCE_DIR) / "scripts" / "demo" / "model").string();
  const std::string river_ = "Question: Which river runs through Hendwick?\nAnswer:";
  // `corda chat` with these lines on stdin.
  ProcessResult chat(const std::string& lines, const std::string& more = "") const {
    std::ofstream(folder_.path() / "lines.txt") << lines;
    return testing::run_process(
        {"/bin/sh", "-c",
         std::string("'") + CORDA_BINARY + "' chat --model '" + model_ +
             "' --device cpu --template alpaca --max-new-tokens 12 --quiet " + more + " < '" +
             (folder_.path() / "lines.txt").string() + "'"});
  }
  testing::TemporaryDirectory folder_;
};

TEST_F(Talk, GeneratePrintsHowThePromptGoesOn) {
  const ProcessResult one = testing::run_corda({"generate", "--model", model_, "--device", "cpu",
                                                "--prompt", river_, "--max-new-tokens", "8"});
  ASSERT_EQ(one.exit_code, 0) << one.err;
  EXPECT_THAT(one.out, HasSubstr("Nolt"));
  EXPECT_TRUE(one.out.ends_with("\n"));
  const ProcessResult two =
      testing::run_corda({"generate", "--model", model_, "--device", "cpu", "--prompt", river_,
                          "--prompt", "Mira", "--max-new-tokens", "8", "--json"});
  ASSERT_EQ(two.exit_code, 0) << two.err;
  EXPECT_THAT(two.out, HasSubstr("\"answer\":"));
  EXPECT_EQ(std::count(two.out.begin(), two.out.end(), '\n'), 2);
  EXPECT_EQ(testing::run_corda({"generate", "--model", model_}).exit_code, 2);
}

TEST_F(Talk, GenerateRefusesWhatItWouldNotDo) {
  const auto refusal = [&](std::vector<std::string> more) {
    std::vector<std::string> command = {"generate", "--model", model_, "--prompt", "Once"};
    command.insert(command.end(), more.begin(), more.end());
    const auto result = testing::run_corda(command);
    EXPECT_EQ(result.exit_code, 2);
    return result.err;
  };
  EXPECT_THAT(refusal({"--system", "Be kind."}),
              HasSubstr("'system' is for chat templates: name one with 'template'"));
  EXPECT_THAT(refusal({"--top-k", "3", "--top-p", "0.5", "--seed", "5"}),
              HasSubstr("'top_p', 'top_k' are for drawn answers, which need 'temperature' above "
                        "0"));
}

// A LoRA that learnt another river: folded into the base it answers as the model it is merged into.
TEST_F(Talk, AnAdapterAnswersAsTheMergedModelAndComesAndGoesInAConversation) {
  const auto at = [&](const char* name) { return (folder_.path() / name).string(); };
  std::ofstream(at("train.jsonl"))
      << R"({"instruction":"Which river runs through Hendwick?","output":"the Sarn"})"
      << "\n";
  std::ofstream(at("train.yaml")) << "model: " << model_
                                  << "\nmethod: lora\nprecision: fp32\ndevice: cpu\nthreads: 1\n"
                                  << "data: {train: [" << at("train.jsonl")
                                  << "], template: alpaca}\nlora: {rank: 4}\n"
                                  << "optim: {lr: 2e-2, batch_size: 1, max_steps: 30}\nout: "
                                  << at("run") << "\n";
  const auto done = [](const std::vector<std::string>& command) {
    const ProcessResult result = testing::run_corda(command);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  done({"train", "--config", at("train.yaml"), "--quiet"});
  const std::string adapter = at("run/adapter");
  done({"merge", "--model", model_, "--adapter", adapter, "--out", at("merged"), "--dtype", "fp32",
        "--quiet"});
  const auto answer = [&](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> command = {"generate",
                                        "--model",
                                        model,
                                        "--device",
                                        "cpu",
                                        "--dtype",
                                        "fp32",
                                        "--template",
                                        "alpaca",
                                        "--prompt",
                                        "Which river runs through Hendwick?",
                                        "--max-new-tokens",
                                        "12"};
    command.insert(command.end(), more.begin(), more.end());
    return done(command);
  };
  const std::string adapted = answer(model_, {"--adapter", adapter});
  EXPECT_THAT(adapted, HasSubstr("Sarn"));
  EXPECT_EQ(adapted, answer(at("merged"), {}));
  EXPECT_NE(adapted, answer(model_, {}));

  const std::string question = "Which river runs through Hendwick?\n/reset\n";
  const ProcessResult talk =
      chat(question + "/adapter " + adapter + "\n" + question + "/adapter\n" + question, "--json");
  const std::string message = R"({"message":"Which river runs through Hendwick?","answer":")";
  const auto second = talk.out.find('\n') + 1;
  const auto third = talk.out.find('\n', second) + 1;
  EXPECT_EQ(talk.out.substr(0, second), talk.out.substr(third)) << talk.out << talk.err;
  EXPECT_THAT(talk.out.substr(second, third - second), HasSubstr("Sarn"));
  EXPECT_THAT(talk.out.substr(0, second), Not(HasSubstr("Sarn")));
  EXPECT_TRUE(talk.out.starts_with(message));
}

// The demo's tokenizer puts BOS in front, which the harness keeps from 0.4.9.2 on.
TEST_F(Talk, AScoreSaysTheHarnesssVersionAndWhatBecameOfBos) {
  const std::string data = (folder_.path() / "choices.jsonl").string();
  std::ofstream(data)
      << R"({"question":"Which river runs through Hendwick?","choices":["Sarn","Nolt"],"answer":1})"
      << "\n"
      << R"({"question":"Who is the mayor of Hendwick?","choices":["Wost","May"],"answer":"May"})"
      << "\n";
  const auto measured = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {
        "eval",   "--model", model_,     "--task", "multiple-choice",
        "--data", data,      "--device", "cpu",    "--quiet"};
    command.insert(command.end(), more.begin(), more.end());
    const ProcessResult result = testing::run_corda(command);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  EXPECT_THAT(measured({"--json"}),
              ::testing::AllOf(HasSubstr(R"("bos":"on","harness":"0.4.13","shots":0)"),
                               HasSubstr(R"("acc":{"value":0.5,"standard_error":0.5})")));
  EXPECT_THAT(measured({"--json", "--harness", "0.4.2"}),
              HasSubstr(R"("bos":"off","harness":"0.4.2")"));
  EXPECT_THAT(measured({"--json", "--harness", "0.4.2", "--bos", "on"}),
              HasSubstr(R"("bos":"on","harness":"0.4.2")"));
  EXPECT_THAT(measured({"--bos", "off"}),
              HasSubstr("2 samples, 0 shots, BOS off, as lm-evaluation-harness 0.4.13\n"
                        "  acc 0.5000 +- 0.5000\n"));
}

// The second answer stands behind a first turn, the third does not.
TEST_F(Talk, ChatAnswersLinesObeysCommandsAndSaysWhatIsWrong) {
  const ProcessResult talk =
      chat("Who is there?\nWho is there?\n/reset\nWho is there?\n/rest\n/adapter /nowhere\n//x\n",
           "--json");
  ASSERT_EQ(talk.exit_code, 0) << talk.err;
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < talk.out.size();) {
    const std::size_t end = talk.out.find('\n', at);
    lines.push_back(talk.out.substr(at, end - at));
    at = end + 1;
  }
  ASSERT_EQ(lines.size(), 4U) << talk.out;
  EXPECT_EQ(lines[0], lines[2]);
  EXPECT_THAT(lines[3], HasSubstr("\"message\":\"/x\""));
  EXPECT_THAT(talk.err, HasSubstr("there is no command '/rest' (did you mean '/reset'?)"));
  EXPECT_THAT(talk.err, HasSubstr("/nowhere"));
  EXPECT_THAT(chat("/exit\nWho?\n").out, Not(HasSubstr("Who")));
}

}  // namespace
}  // namespace corda
