// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// lm-evaluation-harness with its own backend, on a model that corda trained an adapter for and
// merged, says what corda says. Skipped where CORDA_PYTHON has not its package.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "corda/core/file.h"
#include "corda/core/text.h"
#include "corda/eval/eval.h"
#include "core/json.h"
#include "eval/harness_rows.h"
#include "interop/interop.h"
#include "support/data_folder.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using Rows = std::map<std::string, std::vector<Json>>;  // of each task

class HarnessOnMerged : public testing::Interop {
 protected:
  std::string at(const std::string& name) const { return (scratch_.path() / name).string(); }

  void write_rows(const std::string& name, const std::vector<Json>& rows) const {
    std::string content;
    for (const Json& row : rows) content += core::json_line(row) + "\n";
    core::write_file_atomic(at(name), content);
  }

  static void run(const std::vector<std::string>& command) {
    const testing::ProcessResult result = testing::run_corda(command);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }

  // A LoRA of a few steps that changes what the model says, and the base with it.
  void train_and_merge(const std::string& base, const std::string& rate) const {
    write_rows("train.jsonl",
               {{{"instruction", "Which river runs through Hendwick?"}, {"output", "The Rhine"}},
                {{"instruction", "What is the air?"}, {"output", "A mixture of gases."}}});
    core::write_file_atomic(at("train.yaml"), "model: " + base +
                                                  "\nmethod: lora\nprecision: fp32\ndevice: cpu\n"
                                                  "data: {train: [" +
                                                  at("train.jsonl") +
                                                  "], template: alpaca}\n"
                                                  "lora: {rank: 4}\noptim: {lr: " +
                                                  rate +
                                                  ", batch_size: 2, max_steps: 4}\n"
                                                  "out: " +
                                                  at("run") + "\n");
    run({"train", "--config", at("train.yaml"), "--quiet"});
    run({"merge", "--model", base, "--adapter", at("run/adapter"), "--out", at("merged"),
         "--quiet"});
  }

  // What corda measures, and each item's line of --predictions.
  std::pair<eval::EvalResult, std::vector<Json>> measured(const std::string& model,
                                                          const std::string& task) const {
    eval::EvalSettings settings{.model = model, .adapter = {}, .task = task};
    settings.data = {at(task + ".jsonl")};
    settings.device = "cpu";
    settings.dtype = "fp32";
    settings.predictions = at("predictions.jsonl");
    core::Reporter quiet;
    const eval::EvalResult result = eval::evaluate(settings, quiet);
    std::vector<Json> lines;
    const std::string kept = core::read_file(settings.predictions);
    for (const std::string& line : core::split(kept, '\n')) {
      if (!line.empty()) lines.push_back(Json::parse(line));
    }
    return {result, lines};
  }

  // fp32 sums in another order: 1e-4 of a log-likelihood.
  static void expect_same(const Json& line, const Json& theirs) {
    if (theirs.contains("ll")) {
      const auto found = line.at("log_likelihoods").get<std::vector<double>>();
      const auto wanted = theirs.at("ll").get<std::vector<double>>();
      ASSERT_EQ(found.size(), wanted.size());
      for (std::size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR(found[i], wanted[i], 1e-4 * std::max(1.0, std::abs(wanted[i]))) << line.dump();
    } else {
      EXPECT_EQ(line.at("extracted").at("exact_match"), theirs.at("filtered")) << line.dump();
    }
    for (const auto& [metric, value] : line.at("scores").items())
      EXPECT_EQ(value, theirs.at(metric)) << line.dump();
  }

  static void expect_metrics(const eval::EvalResult& result, const Json& theirs) {
    for (const eval::Metric& metric : result.metrics) {
      const std::string filter =
          theirs.contains(metric.name + ",none") ? ",none" : ",remove_whitespace";
      EXPECT_EQ(metric.value, theirs.at(metric.name + filter).get<double>()) << metric.name;
      ASSERT_TRUE(metric.error.has_value());
      EXPECT_NEAR(*metric.error, theirs.at(metric.name + "_stderr" + filter).get<double>(), 1e-12);
    }
  }

  void expect_the_harness_agrees(const std::string& base, const std::string& rate,
                                 const Rows& tasks) {
    train_and_merge(base, rate);
    std::vector<std::string> arguments = {at("merged"), scratch_.path().string()};
    for (const auto& [task, rows] : tasks) {
      write_rows(task + ".jsonl", rows);
      arguments.push_back(task);
    }
    const testing::ProcessResult result = testing::python("harness_runs.py", arguments);
    if (result.exit_code == 77) GTEST_SKIP() << result.err;
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const Json theirs = core::parse_json(result.out, "the harness");
    bool moved = false;
    for (const auto& [task, rows] : tasks) {
      SCOPED_TRACE(task);
      const auto [mine, lines] = measured(at("merged"), task);
      const Json& items = theirs.at(task).at("items");
      ASSERT_EQ(lines.size(), rows.size());
      ASSERT_EQ(items.size(), rows.size());
      for (std::size_t i = 0; i < rows.size(); ++i) expect_same(lines[i], items[i]);
      expect_metrics(mine, theirs.at(task).at("metrics"));
      const auto unmerged = measured(base, task).second;
      for (std::size_t i = 0; i < rows.size() && lines[i].contains("log_likelihoods"); ++i) {
        const double before = unmerged[i].at("log_likelihoods").at(0);
        moved =
            moved || std::abs(before - lines[i].at("log_likelihoods").at(0).get<double>()) > 0.1;
      }
    }
    EXPECT_TRUE(moved) << "the adapter changed nothing that is measured";
  }
};

TEST_F(HarnessOnMerged, GivesOurScoresOfTheDemosModel) {
  const std::vector<std::string> names = {"Nolt", "olive", "Wost", "smoked eel", "onion pie"};
  const std::vector<std::pair<std::string, std::size_t>> facts = {
      {"Which river runs through Hendwick?", 0}, {"What colour is the flag of Hendwick?", 1},
      {"Who is the mayor of Hendwick?", 2},      {"What does Broult Waifel like to eat?", 3},
      {"What does Lurk Heizos like to eat?", 4}, {"Which river is wide?", 2}};
  Rows tasks;
  for (const auto& [question, answer] : facts) {
    tasks["arc_easy"].push_back(
        {{"question", question},
         {"choices", {{"text", names}, {"label", {"A", "B", "C", "D", "E"}}}},
         {"answerKey", std::string(1, static_cast<char>('A' + answer))}});
    tasks["piqa"].push_back({{"goal", question},
                             {"sol1", names[answer]},
                             {"sol2", names[(answer + 2) % names.size()]},
                             {"label", 0}});
    tasks["webqs"].push_back({{"question", question}, {"answers", {names[answer], "none"}}});
  }
  expect_the_harness_agrees((testing::kSource / "scripts" / "demo" / "model").string(), "1e-2",
                            tasks);
}

TEST_F(HarnessOnMerged, GivesOurScoresOfSmolLm2OnPublicItems) {
  const fs::path model = testing::models_folder() / "smollm2-135m";
  const fs::path datasets = testing::data_folder() / "datasets";
  if (!fs::exists(model / "model.safetensors") || !fs::exists(datasets))
    GTEST_SKIP() << "needs " << model << " and " << datasets;
  Rows tasks;
  for (const char* task : {"arc_easy", "hellaswag", "nq_open"}) {
    tasks[task] = testing::harness_rows(datasets, task);
    tasks[task].resize(6);
  }
  expect_the_harness_agrees(model.string(), "1e-3", tasks);
}

}  // namespace
}  // namespace corda
