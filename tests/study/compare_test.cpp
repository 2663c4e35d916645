// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/study/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::study {
namespace {

namespace fs = std::filesystem;
using corda::testing::error_of;
using core::Json;
using ::testing::HasSubstr;

// Asks to stop after so many steps of training.
class Stopping final : public core::Reporter {
 public:
  explicit Stopping(std::int64_t most) : most_(most) {}
  void begin(std::string_view task, std::int64_t /*total*/, std::string_view /*unit*/,
             std::int64_t /*done*/) override {
    training_ = task == "train";
  }
  void advance(std::int64_t count, std::string_view /*note*/) override {
    if (training_) made_ += count;
  }
  bool stop_requested() const override { return made_ >= most_; }

 private:
  std::int64_t most_;
  std::int64_t made_ = 0;
  bool training_ = false;
};

class Compare : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(at("base"), {.vocab = 257});
    std::ofstream task(at("task.jsonl"));
    for (int i = 0; i < 16; ++i)
      task << R"({"prompt": "Add one to )" << i << R"(", "completion": ")" << i + 1 << "\"}\n";
    std::ofstream(at("facts.jsonl"))
        << "{\"question\": \"What is red?\", \"answer\": \"a rose\"}\n"
           "{\"question\": \"What is blue?\", \"answer\": \"the sky, on a day without clouds\"}\n";
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }

  // LoRA and KPA, two seeds each, eight steps of two samples.
  CompareSettings settings(const std::string& out) const {
    const std::string yaml = R"(
train:
  data: {train: TASK}
  lora: {rank: 2}
  optim: {lr: 1e-3, batch_size: 2}
calibrations:
  facts: {data: FACTS, samples: 2, seq_len: 16}
methods:
  lora: {}
  kpa: {decompose: {mode: kpa, covariance: facts}}
seeds: [0, 1]
evaluate:
  task: {task: perplexity, data: TASK}
)";
    CompareSettings result;
    settings_of(result).read(core::parse_yaml(with_paths(yaml), "study.yaml"));
    result.model = at("base").string();
    result.device = "cpu";
    result.threads = 1;
    result.out = at(out).string();
    return result;
  }
  std::string with_paths(std::string text) const {
    for (const auto& [word, file] : {std::pair{"TASK", "task.jsonl"}, {"FACTS", "facts.jsonl"}}) {
      for (auto place = text.find(word); place != std::string::npos; place = text.find(word))
        text.replace(place, std::string(word).size(), at(file).string());
    }
    return text;
  }
  core::ConfigNode node(const std::string& yaml) const {
    return core::parse_yaml(with_paths(yaml), "more.yaml");
  }
  static std::vector<Json> lines_of(const std::string& file) {
    std::vector<Json> lines;
    for (const auto& line : core::split(core::read_file(file), '\n'))
      if (!line.empty()) lines.push_back(core::parse_json(line, file));
    return lines;
  }
  std::string adapter(const std::string& study, const std::string& run) const {
    return core::read_file(at(study) / "runs" / run / "adapter/adapter_model.safetensors");
  }

  corda::testing::TemporaryDirectory folder_;
  corda::CapturedLog log_;
};

TEST_F(Compare, EveryRunIsARunDirectoryWithItsEvaluations) {
  const CompareResult result = compare(settings("s"), log_);
  EXPECT_EQ(result.runs, 4);
  EXPECT_EQ(result.done, 4);
  EXPECT_EQ(result.skipped, 0);
  for (const char* run :
       {"lora-lr0.001-s0", "kpa-lr0.001-s0", "lora-lr0.001-s1", "kpa-lr0.001-s1"}) {
    const fs::path directory = at("s") / "runs" / run;
    for (const char* file :
         {"config.resolved.yaml", "metrics.jsonl", "adapter/corda.json", "evaluations/task.json"})
      EXPECT_TRUE(fs::exists(directory / file)) << run << " " << file;
  }
  const std::vector<Json> lines = lines_of(result.results);
  ASSERT_EQ(lines.size(), 4U);
  EXPECT_EQ(lines[1]["name"], "kpa-lr0.001-s0");
  EXPECT_EQ(lines[1]["state"], "done");
  EXPECT_EQ(lines[1]["group"], "kpa");
  EXPECT_EQ(lines[1]["rate"], 0.001);
  EXPECT_EQ(lines[3]["seed"], 1);
  const Json base = core::read_json(at("s/base/evaluations/task.json"));
  EXPECT_EQ(base["task"], "perplexity");
  // Training on the same samples lowers their loss.
  for (const Json& line : lines)
    EXPECT_LT(line["evaluations"]["task"]["nll"], base["nll"]) << line["name"];
  EXPECT_NE(adapter("s", "lora-lr0.001-s0"), adapter("s", "lora-lr0.001-s1"));
  const std::string report = core::read_file(at("s/report.md"));
  EXPECT_THAT(report, HasSubstr("| kpa | 0.001 \xE2\x97\x86 | 2 |"));
  EXPECT_TRUE(fs::exists(result.report));
}

TEST_F(Compare, AgainItSkipsWhatIsFinishedAndDoesWhatWasAdded) {
  CompareSettings study = settings("s");
  compare(study, log_);
  const auto time =
      fs::last_write_time(at("s/runs/kpa-lr0.001-s1/adapter/adapter_model.safetensors"));
  study.rates = {1e-3, 4e-3};
  study.evaluate = node("{task: {task: perplexity, data: TASK}, facts: {task: qa, data: FACTS}}");
  const CompareResult result = compare(study, log_);
  EXPECT_EQ(result.runs, 8);
  EXPECT_EQ(result.skipped, 4);
  EXPECT_EQ(result.done, 4);
  EXPECT_EQ(fs::last_write_time(at("s/runs/kpa-lr0.001-s1/adapter/adapter_model.safetensors")),
            time);
  for (const Json& line : lines_of(result.results))
    EXPECT_TRUE(line["evaluations"].contains("facts")) << line["name"];
}

TEST_F(Compare, AnInterruptedRunGoesOnAndAKilledOneBeginsAnew) {
  compare(settings("whole"), log_);
  Stopping stopping(11);  // in the second run
  EXPECT_THAT(error_of<core::Interrupted>([&] { compare(settings("parts"), stopping); }),
              HasSubstr("interrupted after step 3 of 8"));
  const CompareResult result = compare(settings("parts"), log_);
  EXPECT_EQ(result.skipped, 1);
  EXPECT_EQ(result.done, 3);
  EXPECT_THAT(log_.text, HasSubstr("resuming after step 3 of 8"));
  EXPECT_EQ(adapter("parts", "kpa-lr0.001-s0"), adapter("whole", "kpa-lr0.001-s0"));
  // As a kill before the first checkpoint leaves it.
  const fs::path run = at("parts/runs/lora-lr0.001-s1");
  for (const char* made : {"adapter", "evaluations", "checkpoints"}) fs::remove_all(run / made);
  std::string state = core::read_file(run / "study.json");
  state.replace(state.find("done"), 4, "begun");
  core::write_file_atomic(run / "study.json", state);
  EXPECT_EQ(compare(settings("parts"), log_).done, 1);
  EXPECT_EQ(adapter("parts", "lora-lr0.001-s1"), adapter("whole", "lora-lr0.001-s1"));
}

TEST_F(Compare, OtherSettingsUnderTheSameNameAreRefused) {
  CompareSettings study = settings("s");
  compare(study, log_);
  study.train = node("{data: {train: TASK}, lora: {rank: 2}, optim: {lr: 1e-3, batch_size: 4}}");
  const std::string error = error_of<core::ConfigError>([&] { compare(study, log_); });
  EXPECT_THAT(error, HasSubstr("runs/lora-lr0.001-s0' was made with other settings: "
                               "'train.optim.batch_size' was 2 and is 4 now"));
}

TEST_F(Compare, ARunWhoseLossIsNotFiniteFailsAndTheOthersGoOn) {
  CompareSettings study = settings("s");
  study.seeds = {0};
  study.rates = {1e6, 1e-3};
  study.methods = node("{lora: {}}");
  const CompareResult result = compare(study, log_);
  EXPECT_EQ(result.failed, 1);
  EXPECT_EQ(result.done, 1);
  EXPECT_THAT(log_.text, HasSubstr("warning: lora-lr1e6-s0 failed: step "));
  EXPECT_EQ(lines_of(result.results)[0]["state"], "failed");
  const CompareResult again = compare(study, log_);
  EXPECT_EQ(again.failed, 1);
  EXPECT_EQ(again.skipped, 1);
}

TEST_F(Compare, WeightsOfFullFineTuningAreKeptWhereAskedFor) {
  CompareSettings study = settings("s");
  study.seeds = {0};
  study.methods = node("{full: {}}");
  compare(study, log_);
  EXPECT_FALSE(fs::exists(at("s/runs/full-lr0.001-s0/model")));
  EXPECT_TRUE(fs::exists(at("s/runs/full-lr0.001-s0/evaluations/task.json")));
  EXPECT_EQ(compare(study, log_).skipped, 1);
  study.out = at("kept").string();
  study.keep_models = true;
  compare(study, log_);
  EXPECT_TRUE(fs::exists(at("kept/runs/full-lr0.001-s0/model/model.safetensors")));
}

TEST_F(Compare, TheTaskIsOneOfTheEvaluations) {
  CompareSettings study = settings("s");
  study.task = "tsk";
  EXPECT_THAT(error_of<core::ConfigError>([&] { compare(study, log_); }),
              HasSubstr("'task' is 'tsk', which 'evaluate' does not have"));
}

}  // namespace
}  // namespace corda::study
