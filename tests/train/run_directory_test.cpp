// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What a run does with its directory: hours of work must survive a full disk, a kill and a slip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/train/train.h"
#include "small_run.h"
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
                  "adapter/corda.json", "checkpoints", "checkpoints/step-5",
                  "checkpoints/step-5/state.json", "checkpoints/step-5/state.safetensors",
                  "checkpoints/step-6", "checkpoints/step-6/state.json",
                  "checkpoints/step-6/state.safetensors", "checkpoints/step-7",
                  "checkpoints/step-7/state.json", "checkpoints/step-7/state.safetensors",
                  "config.resolved.yaml", "metrics.jsonl"));
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
  second.lora.target_modules = TrainSettings().lora.target_modules;
  train(second, false, reporter_);
  const std::string resolved = core::read_file(fs::path(second.out) / "config.resolved.yaml");
  EXPECT_THAT(resolved, HasSubstr("target_modules: [q_proj, v_proj]"));
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
  for (const std::int64_t rank : {0, 4}) {
    TrainSettings run = settings("full" + std::to_string(rank));
    run.method = "full";
    run.lora.rank = rank;
    run.optim.max_steps = 1;
    Warnings warnings;
    train(run, false, warnings);
    const auto matches = HasSubstr("'lora' is without effect");
    if (rank == 0)
      EXPECT_THAT(warnings.text(), ::testing::Not(matches));
    else
      EXPECT_THAT(warnings.text(), matches);
  }
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

}  // namespace
}  // namespace corda::train
