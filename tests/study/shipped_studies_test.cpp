// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The recipes of configs/studies for real models on a small one and a few records of every data
// set.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

#include "corda/core/file.h"
#include "corda/study/compare.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::study {
namespace {

namespace fs = std::filesystem;

class ShippedStudies : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(folder_.path() / "base", {.vocab = 257});
    const std::string words = "some words that are read as tokens, of which a window takes a few";
    // Columns as the data sets have them, by a part of their paths.
    write("MetaMathQA", {{"query", words}, {"response", words}});
    write("CodeFeedback", {{"query", words}, {"answer", words}});
    write("evol_instruct", {{"instruction", words}, {"output", words}});
    write("alpaca/data", {{"instruction", words}, {"input", ""}, {"output", words}});
    write("humaneval", {{"prompt", words}, {"canonical_solution", words}});
    write("gsm8k", {{"question", words}, {"answer", words + " #### 4"}});
    write("data/code_", {{"instruction", words}, {"output", words}});
    write("data/shakespeare_", {{"text", words + words}});
    write("data/knowledge_", {{"question", words}, {"answer", {"a", "b"}}});
    write("data/text_calibration", {{"text", words + words}});
    write("data/c4_", {{"text", words + words}});
    write("nq_open", {{"question", words}, {"answer", {"a", "b"}}});
    write("trivia_qa", {{"question", words}, {"answer", {{"value", "a"}, {"aliases", {"a"}}}}});
    write("web_questions", {{"question", words}, {"answers", {"a"}}});
    write("wikitext", {{"text", words + words}});
  }
  void write(const std::string& part, const core::Json& record) {
    const std::string file =
        (folder_.path() / ("data" + std::to_string(files_.size()) + ".jsonl")).string();
    std::ofstream stream(file);
    for (int i = 0; i < 4; ++i) stream << record.dump() << "\n";
    files_[part] = file;
  }
  // The YAML with a file here in the place of every data set.
  std::string with_local_data(const std::string& yaml) const {
    static const std::regex path("\"?(hf://datasets|\\bdata)/[^\"\\s,}]+\"?");
    std::string text;
    auto rest = yaml.cbegin();
    for (auto at = std::sregex_iterator(yaml.begin(), yaml.end(), path);
         at != std::sregex_iterator(); ++at) {
      text.append(rest, yaml.cbegin() + at->position());
      std::string local;
      for (const auto& [part, file] : files_)
        if (at->str().find(part) != std::string::npos) local = file;
      EXPECT_NE(local, "") << at->str();
      text += local;
      rest = yaml.cbegin() + at->position() + at->length();
    }
    return text.append(rest, yaml.cend());
  }

  corda::testing::TemporaryDirectory folder_;
  std::map<std::string, std::string> files_;
  corda::CapturedLog log_;
};

TEST_P(ShippedStudies, RunsOnASmallModel) {
  const fs::path folder = fs::path(CORDA_SOURCE_DIR) / "configs/studies";
  std::string yaml = with_local_data(core::read_file(folder / GetParam()));
  const std::string jinja = "peft-metamath.jinja";
  for (auto at = yaml.find(": " + jinja); at != std::string::npos; at = yaml.find(": " + jinja))
    yaml.replace(at + 2, jinja.size(), (folder / jinja).string());
  CompareSettings settings;
  settings_of(settings).read(core::parse_yaml(yaml, GetParam()));
  settings.model = (folder_.path() / "base").string();
  settings.out = (folder_.path() / "study").string();
  settings.device = "cpu";
  settings.threads = 1;
  settings.ranks = {2};
  for (auto& [name, calibration] : settings.calibrations.entries) {
    const bool learns = calibration.find("of") != nullptr;  // so that there must be answers
    for (auto& [key, value] : calibration.entries) {
      if (key == "samples") value.text = "2";
      if (key == "seq_len" && !learns) value.text = "32";
    }
  }
  for (auto& [name, method] : settings.methods.entries) {
    for (auto& [key, value] : method.entries)
      if (key == "ranks") value = core::ConfigNode::list({"2"});
  }
  // The model has fewer positions than an answer may have tokens.
  for (auto& [name, evaluation] : settings.evaluate.entries) {
    const std::string& task = evaluation.find("task")->text;
    if (task != "perplexity" && task != "webqs")  // these generate none
      evaluation.entries.emplace_back("max_new_tokens", core::ConfigNode::scalar("4"));
  }
  for (auto& [key, value] : settings.train.entries) {
    if (key == "precision") value.text = "fp32";
    if (key != "optim") continue;
    std::erase_if(value.entries, [](const auto& entry) { return entry.first == "max_steps"; });
    // The first step is warm-up and has no rate, of which a decay in total could be made.
    value.entries.emplace_back("max_steps", core::ConfigNode::scalar("2"));
  }
  const CompareResult result = compare(settings, log_);
  EXPECT_EQ(result.done, result.runs);
  EXPECT_GE(result.runs, 5);
  EXPECT_EQ(result.failed, 0);
  EXPECT_TRUE(fs::exists(result.report));
}

INSTANTIATE_TEST_SUITE_P(Files, ShippedStudies,
                         ::testing::Values("paper-math.yaml", "paper-code.yaml",
                                           "paper-instructions.yaml", "peft-metamath.yaml",
                                           "gsm8k-small-models.yaml", "shakespeare.yaml",
                                           "code.yaml"),
                         [](const auto& file) {
                           std::string name = file.param;
                           name = name.substr(0, name.find('.'));
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace corda::study
