// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The real model nano-qa-11m, where its folder is there (CORDA_SHARED or ../shared beside the
// source).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iomanip>
#include <map>
#include <numeric>
#include <regex>
#include <sstream>

#include "corda/core/file.h"
#include "core/json.h"
#include "support/data_folder.h"
#include "support/process.h"
#include "support/temporary_directory.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using testing::run_corda;

class NanoQa : public ::testing::Test {
 protected:
  // The model has learnt every text behind BOS; its tokenizer.json does not say so.
  void SetUp() override {
    const fs::path published = testing::data_folder() / "models" / "nano-qa-11m";
    if (!fs::exists(published / "config.json")) GTEST_SKIP() << "there is no " << published;
    for (const auto& entry : fs::directory_iterator(published)) {
      if (entry.path().filename() != "tokenizer.json")
        fs::create_symlink(fs::absolute(entry.path()), model() / entry.path().filename());
    }
    core::Json tokenizer = core::read_json(published / "tokenizer.json");
    const core::Json bos = core::parse_json(
        R"([{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}])",
        "test");
    tokenizer["post_processor"]["single"] = bos;
    tokenizer["post_processor"]["special_tokens"] = core::parse_json(
        R"({"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}})",
        "test");
    core::write_json(model() / "tokenizer.json", tokenizer);
  }
  const fs::path& model() const { return folder_.path(); }
  fs::path datasets() const { return testing::data_folder() / "datasets"; }
  core::Json eval(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(),
                     {"eval", "--model", model().string(), "--device", "cpu", "--json"});
    const auto result = run_corda(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return core::parse_json(result.out, "eval");
  }

 private:
  testing::TemporaryDirectory folder_;
};

TEST_F(NanoQa, KnowsTheAnswersOfItsOwnQuestions) {
  const core::Json result =
      eval({"--task", "qa", "--data", (datasets() / "nq_open" / "NQ-open.dev.jsonl.gz").string(),
            "--samples", "40"});
  EXPECT_EQ(result.at("samples"), 40);
  // The model's README: 98.8 to 100 % on each set.
  EXPECT_GE(result.at("score").get<double>(), 97.0);
}

TEST_F(NanoQa, ResponseLossMatchesTransformers) {
  const core::Json result =
      eval({"--task", "perplexity", "--data", (datasets() / "gsm8k" / "test.jsonl.gz").string(),
            "--format", "alpaca", "--columns", "instruction=question,output=answer", "--seq-len",
            "512", "--samples", "60"});
  // transformers 5.17 in fp32, each sample alone: 4.531695796 over 6229 response tokens.
  EXPECT_EQ(result.at("tokens"), 6229);
  EXPECT_NEAR(result.at("nll").get<double>(), 4.531695796, 1e-5);
}

// What scripts/experiments/nano_qa.sh recorded, by "METHOD RATE".
struct Runs {
  std::vector<double> losses;
  std::vector<double> known;
};

std::map<std::string, Runs> recorded() {
  std::map<std::string, Runs> result;
  std::ifstream file(fs::path(CORDA_SOURCE_DIR) / "scripts" / "experiments" / "results" /
                     "nano-qa-h200.jsonl");
  for (std::string line; std::getline(file, line);) {
    const core::Json row = core::parse_json(line, "results");
    Runs& runs = result[row.at("method").get<std::string>() + " " + row.value("lr", "")];
    runs.losses.push_back(row.at("gsm8k_nll").get<double>());
    runs.known.push_back(row.at("knowledge").get<double>());
  }
  return result;
}

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// "2.124 (0.003)": the mean, and the largest minus the smallest where there are several.
std::string figures(const std::vector<double>& values, int digits) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(digits) << mean(values);
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  if (values.size() > 1) text << " (" << *most - *least << ")";
  return text.str();
}

TEST(NanoQaRecord, KeepsTheOrderingOfThePaperAndDualFarAbove) {
  std::map<std::string, std::pair<double, double>> found;  // loss, knowledge
  for (const auto& [key, runs] : recorded()) found[key] = {mean(runs.losses), mean(runs.known)};
  ASSERT_EQ(found.size(), 18U);
  for (const char* rate : {" 1e-4", " 4e-4"}) {
    const std::string r = rate;
    for (const char* other : {"lora", "pissa", "kpa"})
      EXPECT_LT(found["ipa" + r].first, found[other + r].first) << other << r;
    EXPECT_GT(found["kpa" + r].second, found["lora" + r].second) << r;
    EXPECT_GT(found["kpa-qa" + r].second, found["kpa" + r].second) << r;
  }
  // Dual at 2e-3 learns more than LoRA at 4e-4 and keeps twice as much.
  EXPECT_LT(found["dual 2e-3"].first, found["lora 4e-4"].first);
  EXPECT_GT(found["dual 2e-3"].second, 2 * found["lora 4e-4"].second);
}

TEST(NanoQaRecord, IsWhatTheTableOfChoosingAMethodSays) {
  const std::map<std::string, std::string> names = {{"base", "base model"},
                                                    {"lora", "LoRA"},
                                                    {"dora", "DoRA"},
                                                    {"pissa", "PiSSA"},
                                                    {"full", "full"},
                                                    {"kpa", "CorDA KPA, questions"},
                                                    {"kpa-qa", "CorDA KPA, questions and answers"},
                                                    {"ipa", "CorDA IPA"},
                                                    {"dual", "CorDA dual"}};
  std::string page = core::read_file(fs::path(CORDA_SOURCE_DIR) / "docs" / "choosing-a-method.md");
  std::erase(page, '*');  // bold
  // What stands in brackets behind a name.
  page = std::regex_replace(page, std::regex(" \\((the paper's recipe|default)\\)"), "");
  for (const auto& [key, runs] : recorded()) {
    const std::string method = key.substr(0, key.find(' '));
    const std::string rate = key.substr(key.find(' '));
    const std::string row = "| " + names.at(method) + (rate == " " ? "" : rate) + " | " +
                            figures(runs.losses, 3) + " | " + figures(runs.known, 1) + " |";
    EXPECT_THAT(page, ::testing::HasSubstr(row));
  }
}

}  // namespace
}  // namespace corda
