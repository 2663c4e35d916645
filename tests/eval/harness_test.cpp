// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What lm-evaluation-harness says of real models, item by item (tests/golden/eval, by
// scripts/golden/eval_tasks.py). Models and data are no part of the source: without them these
// tests skip.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "corda/core/sha256.h"
#include "corda/eval/eval.h"
#include "core/json.h"
#include "eval/harness_rows.h"
#include "support/data_folder.h"
#include "support/temporary_directory.h"

namespace corda::eval {
namespace {

namespace fs = std::filesystem;
using core::Json;

std::string short_hash(const std::string& text) {
  return core::Sha256().update(text).hex_digest().substr(0, 16);
}

fs::path golden_folder() { return fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "eval"; }

class HarnessGolden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    golden_ = core::read_json(golden_folder() / (std::string(GetParam()) + ".json"));
    model_ = corda::testing::models_folder() / golden_.at("model").get<std::string>();
    datasets_ = corda::testing::data_folder() / "datasets";
    if (!fs::exists(model_ / "model.safetensors") || !fs::exists(datasets_))
      GTEST_SKIP() << "needs " << model_ << " and " << datasets_;
  }

  std::string write_rows(const char* name, std::vector<Json> rows, std::size_t first,
                         std::size_t count) const {
    const fs::path path = folder_.path() / name;
    std::ofstream file(path);
    for (std::size_t i = first; i < std::min(rows.size(), first + count); ++i)
      file << rows[i].dump() << "\n";
    return path.string();
  }

  EvalSettings settings() const {
    const std::string task = golden_.at("task");
    const auto first = golden_.at("first").get<std::size_t>();
    const auto count = golden_.at("rows").get<std::size_t>();
    const auto pool = golden_.at("pool").get<std::int64_t>();
    const std::vector<Json> rows = corda::testing::harness_rows(datasets_, task);
    EvalSettings made{.model = model_.string(), .adapter = {}, .task = task};
    made.data = {write_rows("rows.jsonl", rows, first, count)};
    made.shots = golden_.at("shots").get<std::int64_t>();
    if (pool < 0) {
      const auto examples = corda::testing::harness_rows(datasets_, task, /*examples=*/true);
      made.shots_data = {write_rows("pool.jsonl", examples, 0, examples.size())};
    } else if (pool > 0) {
      made.shots_data = {
          write_rows("pool.jsonl", rows, first + count, static_cast<std::size_t>(pool))};
    }
    made.seq_len = golden_.at("max_length").get<std::int64_t>();
    made.batch_tokens = 4096;
    made.device = "cpu";
    made.dtype = "fp32";
    made.predictions = (folder_.path() / "predictions.jsonl").string();
    return made;
  }

  std::vector<Json> predictions() const {
    std::vector<Json> lines;
    std::ifstream file(folder_.path() / "predictions.jsonl");
    for (std::string line; std::getline(file, line);) lines.push_back(Json::parse(line));
    return lines;
  }

  // Each context and continuation as the harness made it.
  static std::string requests_of(const Json& line) {
    std::string text;
    const auto& choices = line.at("choices");
    for (std::size_t i = 0; i < choices.size(); ++i) {
      const Json& prompt = line.at("prompt");
      if (i > 0) text += '\0';
      text += (prompt.is_array() ? prompt.at(i) : prompt).get<std::string>();
      text += '\0';
      text += choices.at(i).get<std::string>();
    }
    return text;
  }

  // fp32 sums in another order; the harness's own between batch sizes differ as much.
  void expect_choices(const Json& line, const Json& expected) const {
    ASSERT_EQ(short_hash(requests_of(line)), expected.at("prompt")) << line.dump();
    const auto found = line.at("log_likelihoods").get<std::vector<double>>();
    const auto wanted = expected.at("ll").get<std::vector<double>>();
    ASSERT_EQ(found.size(), wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i)
      EXPECT_NEAR(found[i], wanted[i], 1e-4 * std::max(1.0, std::abs(wanted[i]))) << line.dump();
    EXPECT_EQ(line.at("greedy"), expected.at("greedy"));
    for (const char* metric : {"acc", "acc_norm", "exact_match"}) {
      if (expected.contains(metric) && line.at("scores").contains(metric)) {
        EXPECT_EQ(line.at("scores").at(metric), expected.at(metric));
      }
    }
  }

  // PyTorch's fp32 log_softmax over Gemma's 262 144 logits is 5e-6 of the sum away from fp64, which
  // corda meets.
  void expect_page(const Json& line, const Json& expected) const {
    EXPECT_EQ(short_hash(line.at("prompt")), expected.at("prompt"));
    const double wanted = expected.at("ll").at(0);
    EXPECT_NEAR(line.at("log_likelihoods").at(0).get<double>(), wanted, 1e-5 * std::abs(wanted));
  }

  // One golden item an item and rule.
  static void expect_answers(const std::vector<Json>& lines, const Json& items) {
    std::map<std::string, std::size_t> at;
    for (const Json& expected : items) {
      const std::string filter = expected.at("filter");
      const Json& line = lines.at(at[filter]++);
      const std::string metric =
          filter == "remove_whitespace" ? "exact_match" : "exact_match," + filter;
      ASSERT_EQ(short_hash(line.at("prompt")), expected.at("prompt")) << line.dump();
      EXPECT_EQ(short_hash(line.at("answer")), expected.at("answer")) << line.dump();
      EXPECT_EQ(line.at("extracted").at(metric), expected.at("filtered"));
      EXPECT_EQ(line.at("scores").at(metric), expected.at("exact_match"));
    }
  }

  void expect_metrics(const EvalResult& result) const {
    for (const Metric& metric : result.metrics) {
      for (const auto& [key, value] : golden_.at("metrics").items()) {
        const bool named = key == metric.name || key == metric.name + ",none" ||
                           key == metric.name + ",remove_whitespace";
        if (named) {
          EXPECT_NEAR(metric.value, value.get<double>(), 1e-4 * value.get<double>()) << key;
          ++metrics_;
        }
        if (key == metric.name + "_stderr,none") {
          ASSERT_TRUE(metric.error.has_value());
          EXPECT_NEAR(*metric.error, value.get<double>(), 1e-12) << key;
        }
      }
    }
  }

  corda::testing::TemporaryDirectory folder_;
  Json golden_;
  fs::path model_;
  fs::path datasets_;
  mutable int metrics_ = 0;
};

TEST_P(HarnessGolden, ItemsAndScoresAreTheHarnesss) {
  core::Reporter quiet;
  const EvalResult result = evaluate(settings(), quiet);
  const std::vector<Json> lines = predictions();
  const Json& items = golden_.at("items");
  ASSERT_EQ(lines.size(), golden_.at("rows").get<std::size_t>());
  if (items.at(0).contains("filter")) {
    expect_answers(lines, items);
  } else {
    ASSERT_EQ(items.size(), lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (items.at(i).contains("words")) {
        expect_page(lines[i], items.at(i));
      } else {
        expect_choices(lines[i], items.at(i));
      }
    }
  }
  expect_metrics(result);
  EXPECT_TRUE(metrics_ > 0 || golden_.at("metrics").empty());
}

constexpr std::array kCases = {
    "arc_easy",   "arc_easy_3shot", "arc_challenge", "hellaswag",     "hellaswag_2shot",
    "piqa",       "boolq",          "boolq_2shot",   "winogrande",    "winogrande_3shot",
    "openbookqa", "sciq",           "mmlu",          "mmlu_5shot",    "webqs",
    "triviaqa",   "triviaqa_5shot", "nq_open",       "nq_open_5shot", "gsm8k",
    "wikitext",   "gemma_arc_easy", "gemma_nq_open", "gemma_wikitext"};

INSTANTIATE_TEST_SUITE_P(Tasks, HarnessGolden, ::testing::ValuesIn(kCases),
                         [](const auto& tested) { return std::string(tested.param); });

TEST(HarnessGoldens, EachIsTested) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(golden_folder()))
    files += entry.path().filename() == "manifest.json" ? 0U : 1U;
  EXPECT_EQ(files, kCases.size());
}

}  // namespace
}  // namespace corda::eval
