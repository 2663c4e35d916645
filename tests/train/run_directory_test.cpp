// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run does with its directory: hours of work must survive a full disk, a kill and a slip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/io/safetensors.h"
#include "corda/train/train.h"
#include "core/json.h"
#include "small_run.h"
#include "support/captured_log.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::testing::HasSubstr;

// Counts the steps of the training; asks it to stop after so many.
class Steps final : public core::Reporter {
 public:
  explicit Steps(std::int64_t most = 1000) : most_(most) {}
  void begin(std::string_view task, std::int64_t /*total*/, std::string_view /*unit*/,
             std::int64_t /*done*/) override {
    training_ = task == "train";
  }
  void advance(std::int64_t count, std::string_view /*note*/) override {
    if (training_) made_ += count;
  }
  bool stop_requested() const override { return made_ >= most_; }
  std::int64_t made() const { return made_; }

 private:
  std::int64_t most_;
  std::int64_t made_ = 0;
  bool training_ = false;
};

class RunDirectory : public testing::SmallRun {
 protected:
  // A checkpoint after each of the first seven steps.
  TrainSettings settings(const std::string& out) const {
    TrainSettings result = small_settings(out);
    result.checkpoint.every = 1;
    result.checkpoint.keep = 3;
    return result;
  }
  // Interrupted after five steps: step-3, step-4 and step-5 are there.
  TrainSettings interrupted(const std::string& out) {
    const TrainSettings result = settings(out);
    Steps five(5);
    error_of<core::Interrupted>([&] { train(result, false, five); });
    return result;
  }
  std::string resume(const TrainSettings& settings) {
    train(settings, true, reporter_);
    return adapter_of(settings);
  }
  std::string undisturbed() {
    train(settings("whole"), false, reporter_);
    return adapter_of(settings("whole"));
  }
  static fs::path checkpoint(const TrainSettings& settings, int step) {
    return fs::path(settings.out) / "checkpoints" / ("step-" + std::to_string(step));
  }
};

TEST_F(RunDirectory, WhereTheResultCannotBeWrittenTheLastStepIsSavedAndResumeOnlyWrites) {
  TrainSettings run = settings("run");
  run.checkpoint.every = 0;
  std::string error;
  {
    const core::AtomicDirectory other(fs::path(run.out) / "adapter");  // as another process would
    error = error_of<core::ResourceError>([&] { train(run, false, reporter_); });
  }
  EXPECT_THAT(error, HasSubstr("the state after step 8 is saved"));
  Steps steps;
  const TrainResult result = train(run, true, steps);
  EXPECT_EQ(steps.made(), 0);
  EXPECT_EQ(result.steps, 8);
  EXPECT_GT(result.loss, 0);
  EXPECT_EQ(adapter_of(run), undisturbed());
}

TEST_F(RunDirectory, AResultThatFp16CannotHoldIsRefusedAndItsLastStepSaved) {
  testing::write_tiny_model(folder_.path() / "base", {.vocab = 257, .dtype = at::kHalf});
  TrainSettings run = settings("run");
  run.method = "full";
  run.lora.rank = 0;
  run.optim.max_steps = 1;
  run.optim.warmup_ratio = 0;
  run.optim.lr = 1e5;  // the first step of AdamW is as long as that
  const std::string error = error_of<core::NumericalError>([&] { train(run, false, reporter_); });
  EXPECT_THAT(error, HasSubstr("too large for F16, which ends at 65504"));
  EXPECT_THAT(error, HasSubstr("the state after step 1 is saved"));
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "model"));
  EXPECT_TRUE(fs::exists(checkpoint(run, 1) / "state.json"));
}

// A limit on the size of files stands for a disk that is nearly full.
TEST_F(RunDirectory, WithoutRoomForTheResultNoStepIsMade) {
  const TrainSettings run = settings("run");
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 512 * 1024, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  std::string error;
  try {
    train(run, false, reporter_);
  } catch (const core::ResourceError& e) {
    error = e.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(error, HasSubstr("reserved-space"));
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "reserved-space"));
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "metrics.jsonl"));
}

TEST_F(RunDirectory, ADamagedCheckpointIsNamedWithTheOneToGoOnFrom) {
  const TrainSettings run = interrupted("run");
  fs::resize_file(checkpoint(run, 5) / "state.safetensors", 1000);
  std::string error = error_of<core::FormatError>([&] { train(run, true, reporter_); });
  EXPECT_THAT(error, HasSubstr("the checkpoint '" + checkpoint(run, 5).string() +
                               "' is damaged; delete it to go on from '" +
                               checkpoint(run, 4).string() + "' ("));
  fs::remove_all(checkpoint(run, 5));
  fs::remove(checkpoint(run, 4) / "state.safetensors");
  EXPECT_THAT(error_of<core::FormatError>([&] { train(run, true, reporter_); }),
              HasSubstr("go on from '" + checkpoint(run, 3).string()));
  fs::remove_all(checkpoint(run, 4));
  EXPECT_EQ(resume(run), undisturbed());
}

TEST_F(RunDirectory, ACheckpointOfAnotherStepThanItsDirectorysIsDamaged) {
  const TrainSettings run = interrupted("run");
  std::string state = core::read_file(checkpoint(run, 5) / "state.json");
  const auto at = state.find("\"step\": 5");
  ASSERT_NE(at, std::string::npos);
  state.replace(at, 9, "\"step\": 300");
  core::write_file_atomic(checkpoint(run, 5) / "state.json", state);
  EXPECT_THAT(error_of<core::FormatError>([&] { train(run, true, reporter_); }),
              HasSubstr("'step' is 300, which is not the directory's"));
  EXPECT_THAT(
      error_of<core::FormatError>([&] { plan(run, true, reporter_); }),
      HasSubstr("is damaged; delete it to go on from '" + checkpoint(run, 4).string() + "' ("));
}

TEST_F(RunDirectory, APlanSaysWhereARunGoesOn) {
  const TrainSettings run = interrupted("run");
  const TrainPlan resumed = plan(run, true, reporter_);
  ASSERT_TRUE(resumed.taken_up);
  EXPECT_EQ(resumed.taken_up->step, 5);
  EXPECT_EQ(resumed.taken_up->checkpoint, checkpoint(run, 5).string());
  EXPECT_THAT(describe(resumed), ::testing::Contains("it goes on after step 5 of 8, from '" +
                                                     checkpoint(run, 5).string() + "'"));
  const TrainSettings new_run = settings("new");
  const TrainPlan begun = plan(new_run, true, reporter_);
  ASSERT_TRUE(begun.taken_up);
  EXPECT_EQ(begun.taken_up->step, 0);
  EXPECT_THAT(describe(begun), ::testing::Contains("nothing of a run is in '" + new_run.out +
                                                   "' yet: it starts from the beginning"));
  EXPECT_FALSE(plan(new_run, false, reporter_).taken_up);
}

TEST_F(RunDirectory, WhatAKillLeftIsClearedAway) {
  const TrainSettings run = interrupted("run");
  const fs::path out = run.out;
  fs::remove(checkpoint(run, 3) / "state.json");  // half removed
  fs::create_directory(checkpoint(run, 9));       // begun to be removed
  fs::create_directory(out / "checkpoints/step-6.corda-partial");
  std::ofstream(out / "metrics.jsonl.tmp-77") << "{";
  std::ofstream(out / "reserved-space") << "of the killed process";
  EXPECT_EQ(resume(run), undisturbed());
  std::vector<std::string> left;
  for (const auto& entry : fs::recursive_directory_iterator(out))
    left.push_back(fs::relative(entry.path(), out).string());
  EXPECT_THAT(left,
              ::testing::UnorderedElementsAre(
                  "adapter", "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
                  "adapter/corda.json", "adapter/README.md", "checkpoints", "checkpoints/step-5",
                  "checkpoints/step-5/state.json", "checkpoints/step-5/state.safetensors",
                  "checkpoints/step-6", "checkpoints/step-6/state.json",
                  "checkpoints/step-6/state.safetensors", "checkpoints/step-7",
                  "checkpoints/step-7/state.json", "checkpoints/step-7/state.safetensors",
                  "config.resolved.yaml", "metrics.jsonl", "versions.jsonl"));
}

TEST_F(RunDirectory, IsNeitherAModelsNorAnAdapters) {
  for (const char* out : {"base", "whole/adapter"}) {
    undisturbed();
    EXPECT_THAT(error_of<core::ConfigError>([&] { train(settings(out), false, reporter_); }),
                HasSubstr("choose another one"));
    fs::remove_all(folder_.path() / "whole");
  }
}

TEST_F(RunDirectory, TargetModulesOfAGivenAdapterMustAgreeAndAreRecorded) {
  TrainSettings first = settings("first");
  first.lora.target_modules = {"q_proj", "v_proj"};
  train(first, false, reporter_);
  TrainSettings second = settings("second");
  second.adapter = (fs::path(first.out) / "adapter").string();
  second.lora.target_modules = {"q_proj"};
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(second, false, reporter_); }),
              HasSubstr("lora.target_modules is q_proj, but the adapter '" + second.adapter +
                        "' has q_proj, v_proj; remove the setting"));
  second.lora.target_modules = {"all-linear"};
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(second, false, reporter_); }),
              HasSubstr("lora.target_modules is all-linear, but the adapter"));
  second.lora.target_modules.clear();
  train(second, false, reporter_);
  const std::string resolved = core::read_file(fs::path(second.out) / "config.resolved.yaml");
  EXPECT_THAT(resolved, HasSubstr("target_modules: [q_proj, v_proj]"));
}

TEST_F(RunDirectory, AnAdapterOfSomeBlocksKeepsThem) {
  TrainSettings first = settings("first");
  first.lora.target_modules = {"layers.1.self_attn.q_proj"};
  train(first, false, reporter_);
  const fs::path adapter = fs::path(first.out) / "adapter";
  EXPECT_THAT(core::read_file(adapter / "adapter_config.json"),
              HasSubstr("\"layers_to_transform\""));
  TrainSettings second = settings("second");
  second.adapter = adapter.string();
  second.lora.target_modules = {"q_proj"};
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(second, false, reporter_); }),
              HasSubstr("lora.target_modules is q_proj, but the adapter '" + second.adapter +
                        "' has model.layers.1.self_attn.q_proj; remove the setting"));
  second.lora.target_modules = {"model.layers.1.self_attn.q_proj"};
  train(second, false, reporter_);
  EXPECT_THAT(core::read_file(fs::path(second.out) / "config.resolved.yaml"),
              HasSubstr("target_modules: [model.layers.1.self_attn.q_proj]"));
}

class Warnings final : public core::Reporter {
 public:
  void log(core::LogLevel level, std::string_view message) override {
    if (level == core::LogLevel::kWarning) text_ += std::string(message) + "\n";
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

TEST_F(RunDirectory, LoraSettingsOfMethodFullAreWarnedOf) {
  const auto warnings_of = [&](TrainSettings run) {
    run.method = "full";
    run.optim.max_steps = 1;
    Warnings warnings;
    train(run, false, warnings);
    return warnings.text();
  };
  const auto matches = HasSubstr("'lora' is without effect");
  TrainSettings run = settings("full");
  run.lora.rank = 0;
  EXPECT_THAT(warnings_of(run), ::testing::Not(matches));
  run = settings("rank");
  EXPECT_THAT(warnings_of(run), matches);
  run = settings("targets");
  run.lora.rank = 0;
  run.lora.target_modules = {"q_proj"};
  EXPECT_THAT(warnings_of(run), matches);
}

// Another program would find the old weights in them.
TEST_F(RunDirectory, OtherFilesOfWeightsThatMethodFullLeavesBehindAreNamed) {
  std::ofstream(folder_.path() / "base/pytorch_model.bin") << "old";
  fs::create_directory(folder_.path() / "base/original");
  TrainSettings run = settings("full");
  run.method = "full";
  run.lora.rank = 0;
  run.optim.max_steps = 1;
  corda::CapturedLog log;
  train(run, false, log);
  EXPECT_THAT(log.text, HasSubstr("info: not copied, since the trained weights are not in it: "
                                  "original/, pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "model/pytorch_model.bin"));
}

TEST_F(RunDirectory, WeightsThatAreNotFiniteAreNotBlamedOnTheRate) {
  const fs::path file = folder_.path() / "base/model.safetensors";
  std::string bytes = core::read_file(file);
  for (std::size_t i = bytes.size() - 64; i < bytes.size(); ++i) bytes[i] = '\x7f';
  bytes.back() = '\x7f';
  for (std::size_t i = 2; i <= 64; i += 4) bytes[bytes.size() - i] = '\xff';  // NaN, little-endian
  core::write_file_atomic(file, bytes);
  EXPECT_THAT(error_of<core::NumericalError>([&] { train(settings("run"), false, reporter_); }),
              HasSubstr("step 1: the loss is not finite before anything was trained"));
}

// Metrics of hours must not be erased by a slip.
TEST_F(RunDirectory, ResumeWithoutACheckpointIsRefusedAndTheMetricsStay) {
  const TrainSettings run = interrupted("run");
  fs::remove_all(fs::path(run.out) / "checkpoints");
  const std::string metrics = core::read_file(fs::path(run.out) / "metrics.jsonl");
  ASSERT_NE(metrics, "");
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, true, reporter_); }),
              HasSubstr("--resume: '" + run.out +
                        "' holds metrics.jsonl of a run but no complete checkpoint"));
  EXPECT_EQ(core::read_file(fs::path(run.out) / "metrics.jsonl"), metrics);
}

TEST_F(RunDirectory, ResumeBeginsARunOfWhichNothingIsThere) {
  const std::string expected = undisturbed();
  EXPECT_EQ(resume(settings("run")), expected);
  const TrainSettings begun = settings("begun");  // killed before its first step
  fs::create_directory(begun.out);
  std::ofstream(fs::path(begun.out) / "metrics.jsonl");
  EXPECT_EQ(resume(begun), expected);
}

TEST_F(RunDirectory, CheckpointsWithoutMetricsAreAnUnfinishedRun) {
  const TrainSettings run = interrupted("run");
  fs::remove(fs::path(run.out) / "metrics.jsonl");
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, false, reporter_); }),
              HasSubstr("holds an unfinished run; continue it with --resume"));
}

// Only the content of model and data counts.
TEST_F(RunDirectory, AMovedModelAndMovedDataAreTakenUp) {
  TrainSettings run = interrupted("run");
  fs::rename(run.model, folder_.path() / "elsewhere");
  fs::rename(run.data.train[0].path, folder_.path() / "moved.jsonl");
  run.model = (folder_.path() / "elsewhere").string();
  run.data.train[0].path = folder_.path() / "moved.jsonl";
  train(run, true, reporter_);
  const std::string adapter = adapter_of(run);
  fs::rename(folder_.path() / "elsewhere", folder_.path() / "base");
  fs::rename(folder_.path() / "moved.jsonl", folder_.path() / "task.jsonl");
  EXPECT_EQ(adapter, undisturbed());
}

// The samples are the same, and how often each comes is not.
TEST_F(RunDirectory, AMixtureThatIsTakenAwayIsRefused) {
  TrainSettings run = settings("run");
  const fs::path data = folder_.path() / "task.jsonl";
  run.data.train = {{.path = data, .count = 8, .weight = 3, .source = "a"},
                    {.path = data, .first = 8, .weight = 1, .source = "b"}};
  Steps five(5);
  error_of<core::Interrupted>([&] { train(run, false, five); });
  for (data::DataFile& file : run.data.train) file.weight = 0;
  constexpr const char* kSaid = "'mixture' was 3 1 and is not there now";
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, true, reporter_); }), HasSubstr(kSaid));
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan(run, true, reporter_); }), HasSubstr(kSaid));
}

TEST_F(RunDirectory, AMovedAdapterIsTakenUpAndAnotherIsNot) {
  undisturbed();
  TrainSettings run = settings("run");
  run.lora.rank = 0;
  run.adapter = (folder_.path() / "whole/adapter").string();
  Steps five(5);
  error_of<core::Interrupted>([&] { train(run, false, five); });
  fs::rename(folder_.path() / "whole/adapter", folder_.path() / "start");
  TrainSettings other = settings("other");
  other.seed = 7;
  train(other, false, reporter_);
  run.adapter = (fs::path(other.out) / "adapter").string();
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, true, reporter_); }),
              HasSubstr("adapter fingerprint"));
  run.adapter = (folder_.path() / "start").string();
  train(run, true, reporter_);
}

// The weights are the same, the model is not.
TEST_F(RunDirectory, AnotherConfigOfTheModelIsRefused) {
  const TrainSettings run = interrupted("run");
  const fs::path file = fs::path(run.model) / "config.json";
  std::string config = core::read_file(file);
  const auto at = config.find("\"rms_norm_eps\"");
  ASSERT_NE(at, std::string::npos);
  config.replace(config.find(':', at) + 1,
                 config.find_first_of(",}\n", at) - config.find(':', at) - 1, " 0.01");
  core::write_file_atomic(file, config);
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, true, reporter_); }),
              HasSubstr("'config.json' "));
}

TEST_F(RunDirectory, AFinishedRunSaysHowItsResultIsTrainedFurther) {
  TrainSettings run = settings("run");
  train(run, false, reporter_);
  run.optim.epochs = 2;
  const std::string adapter = run.out + "/adapter";
  for (const bool resume : {false, true}) {
    const std::string error = error_of<core::ConfigError>([&] { train(run, resume, reporter_); });
    EXPECT_THAT(error, HasSubstr("holds a finished run; choose another --out"));
    EXPECT_THAT(error, HasSubstr("start from it with --set adapter=" + adapter));
  }
  TrainSettings further = settings("further");
  further.adapter = adapter;
  train(further, false, reporter_);
}

// Where the rate does not depend on the length, a longer run begins as a shorter one does.
TEST_F(RunDirectory, ARunAtAConstantRateMayBecomeLongerButNotShorterThanItIs) {
  const auto constant = [&](const std::string& out, double epochs) {
    TrainSettings result = settings(out);
    result.optim.schedule = "constant";
    result.optim.warmup_ratio = 0;
    result.optim.epochs = epochs;
    return result;
  };
  TrainSettings run = constant("run", 1);
  Steps five(5);
  error_of<core::Interrupted>([&] { train(run, false, five); });
  run.optim.epochs = 0.5;
  constexpr const char* kSaid = "is of step 5, and the settings end the run after step 4";
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, true, reporter_); }), HasSubstr(kSaid));
  EXPECT_THAT(error_of<core::ConfigError>([&] { plan(run, true, reporter_); }), HasSubstr(kSaid));
  run.optim.epochs = 2;
  train(run, true, reporter_);
  const TrainSettings whole = constant("longer", 2);
  train(whole, false, reporter_);
  EXPECT_EQ(adapter_of(run), adapter_of(whole));
  TrainSettings falling = interrupted("falling");
  falling.optim.epochs = 2;
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(falling, true, reporter_); }),
              HasSubstr("'optim.epochs' was 1 and is 2 now"));
}

// Checkpoints by time are written beside the steps, whose results they do not change.
TEST_F(RunDirectory, CheckpointsByTimeAreKeptLikeThoseBySteps) {
  TrainSettings run = settings("run");
  run.checkpoint.every = 0;
  run.checkpoint.keep = 2;
  run.checkpoint.minutes = 1e-9;
  train(run, false, reporter_);
  EXPECT_EQ(adapter_of(run), undisturbed());
  std::int64_t found = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(run.out) / "checkpoints"))
    found += fs::exists(entry.path() / "state.json") ? 1 : 0;
  EXPECT_GE(found, 1);
  EXPECT_LE(found, 2);
  run.out = (folder_.path() / "none").string();
  run.checkpoint.minutes = 0;
  train(run, false, reporter_);
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "checkpoints"));
}

class BestOfARun : public RunDirectory {
 protected:
  // The evaluation's answers are others than those that are learnt, so that its loss goes up and
  // down; the rates do not depend on the number of steps.
  TrainSettings rising(const std::string& out) const {
    for (const std::string digit : {"1", "0"}) {
      std::ofstream data(folder_.path() / (digit + ".jsonl"));
      for (int i = 0; i < 16; ++i)
        data << R"({"prompt": "Add one to )" << i << R"(", "completion": ")"
             << std::string(12, digit.front()) << "\"}\n";
    }
    TrainSettings result = settings(out);
    result.data.train = {{.path = folder_.path() / "1.jsonl"}};
    result.data.eval = {{.path = folder_.path() / "0.jsonl"}};
    result.eval.every = 1;
    result.optim.lr = 3e-2;
    result.optim.epochs = 3;
    result.optim.schedule = "constant";
    result.optim.warmup_ratio = 0;
    return result;
  }
  static std::vector<core::Json> rows(const fs::path& metrics) {
    std::vector<core::Json> found;
    std::ifstream file(metrics);
    for (std::string line; std::getline(file, line);)
      found.push_back(core::parse_json(line, "metrics"));
    return found;
  }
  static std::vector<double> evaluations(const TrainSettings& settings) {
    std::vector<double> losses;
    for (const core::Json& row : rows(fs::path(settings.out) / "metrics.jsonl"))
      losses.push_back(row.at("eval_loss").get<double>());
    return losses;
  }
};

TEST_F(BestOfARun, TheResultIsThatOfTheLowestEvaluationLoss) {
  const TrainSettings whole = rising("whole");
  train(whole, false, reporter_);
  const std::vector<double> losses = evaluations(whole);
  ASSERT_EQ(losses.size(), 24U);
  // The longest run whose last evaluation is not the lowest.
  const auto lowest_of = [&](std::ptrdiff_t steps) {
    return std::min_element(losses.begin(), losses.begin() + steps) - losses.begin() + 1;
  };
  std::ptrdiff_t steps = 24;
  while (steps > 1 && lowest_of(steps) == steps) --steps;
  ASSERT_GT(steps, 1) << "the loss was to go up";
  const std::ptrdiff_t lowest = lowest_of(steps);
  TrainSettings run = rising("run");
  run.checkpoint.best = true;
  run.optim.max_steps = steps;
  const TrainResult result = train(run, false, reporter_);
  EXPECT_EQ(result.best_step, lowest);
  EXPECT_EQ(result.best_eval_loss, losses[static_cast<std::size_t>(lowest - 1)]);
  EXPECT_FALSE(fs::exists(fs::path(run.out) / "best"));
  // What a run leaves that is stopped at that step, at the same rates.
  TrainSettings same = rising("same");
  Steps until(lowest);
  error_of<core::Interrupted>([&] { train(same, false, until); });
  const io::SafetensorsFile state(checkpoint(same, static_cast<int>(lowest)) / "state.safetensors");
  const io::SafetensorsFile best(fs::path(run.out) / "adapter/adapter_model.safetensors");
  ASSERT_FALSE(best.tensors().empty());
  for (const auto& [name, info] : best.tensors()) {
    std::string own = name.substr(std::string("base_model.model.").size());
    own = own.substr(0, own.size() - std::string(".weight").size());
    const auto expected = state.data(own);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), best.data(name).begin())) << name;
  }
}

TEST_F(BestOfARun, PatienceEndsTheRunAndAKilledOneEndsAtTheSameStep) {
  TrainSettings run = rising("run");
  run.eval.patience = 1;
  const TrainResult result = train(run, false, reporter_);
  EXPECT_LT(result.steps, 24);
  EXPECT_EQ(result.steps, *result.best_step + 1);
  TrainSettings parts = rising("parts");
  parts.eval.patience = 1;
  Steps some(*result.best_step);
  error_of<core::Interrupted>([&] { train(parts, false, some); });
  const TrainResult resumed = train(parts, true, reporter_);
  EXPECT_EQ(resumed.steps, result.steps);
  EXPECT_EQ(resumed.best_step, result.best_step);
  EXPECT_EQ(adapter_of(parts), adapter_of(run));
}

TEST_F(BestOfARun, OtherEvaluationDataBeginAnew) {
  TrainSettings run = rising("run");
  run.checkpoint.best = true;
  Steps some(6);
  error_of<core::Interrupted>([&] { train(run, false, some); });
  run.data.eval = run.data.train;
  Warnings warnings;
  const TrainResult result = train(run, true, warnings);
  EXPECT_THAT(warnings.text(), HasSubstr("is forgotten: other evaluation data are used"));
  EXPECT_GE(*result.best_step, 6);
}

TEST_F(BestOfARun, ALowerLossOnTheDataBeforeIsNotTheBest) {
  TrainSettings run = rising("run");
  run.checkpoint.best = true;
  Steps some(6);
  error_of<core::Interrupted>([&] { train(run, false, some); });
  // As if those data were easy.
  const fs::path metrics = fs::path(run.out) / "metrics.jsonl";
  std::string before;
  for (core::Json row : rows(metrics)) {
    row["eval_loss"] = 0.125;
    before += row.dump() + "\n";
  }
  core::write_file_atomic(metrics, before);
  run.data.eval = run.data.train;
  const TrainResult result = train(run, true, reporter_);
  EXPECT_GE(*result.best_step, 6);  // whose evaluation was interrupted, and made up for
  EXPECT_THAT(core::read_file(fs::path(run.out) / "adapter/README.md"),
              HasSubstr(core::concat(" after step ", *result.best_step, " on `1.jsonl`")));
  const std::vector<core::Json> all = rows(metrics);
  ASSERT_EQ(all.size(), 24U);
  EXPECT_EQ(all[0].at("eval_data"), all[4].at("eval_data"));
  EXPECT_NE(all[4].at("eval_data"), all[5].at("eval_data"));
  EXPECT_EQ(all[5].at("eval_data"), all[23].at("eval_data"));
}

// Neither a constant rate nor patience ends a run where its rate was planned to end.
TEST_F(BestOfARun, AFinishedOneIsRefusedForACauseThatHoldsAtAnyRate) {
  TrainSettings constant = rising("constant");
  constant.optim.max_steps = 2;
  TrainSettings early = rising("early");
  early.eval.patience = 1;
  for (TrainSettings run : {constant, early}) {
    train(run, false, reporter_);
    run.optim.epochs = 6;
    run.optim.max_steps = 0;
    for (const bool resume : {false, true}) {
      const std::string error = error_of<core::ConfigError>([&] { train(run, resume, reporter_); });
      EXPECT_THAT(error, HasSubstr("More epochs do not lengthen it, as only an unfinished run is "
                                   "continued: to train its result further, start from it"));
      EXPECT_THAT(error, ::testing::Not(HasSubstr("learning rate")));
    }
  }
}

}  // namespace
}  // namespace corda::train
