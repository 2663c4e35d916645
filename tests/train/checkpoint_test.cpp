// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A checkpoint that is written beside training holds the state at its step.
#include "train/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/temporary_directory.h"
#include "train/checkpoint_writer.h"

namespace corda::train {
namespace {

using ::testing::HasSubstr;

class Warnings final : public core::Reporter {
 public:
  void log(core::LogLevel level, std::string_view message) override {
    if (level == core::LogLevel::kWarning) texts_.emplace_back(message);
  }
  const std::vector<std::string>& texts() const { return texts_; }

 private:
  std::vector<std::string> texts_;
};

class Checkpoints : public ::testing::Test {
 protected:
  Checkpoints()
      : parameter_(at::zeros({64, 64}).set_requires_grad(true)), adam_({{"w", parameter_}}, {}) {}

  void step() {
    parameter_.mutable_grad() = at::ones_like(parameter_);
    adam_.step(0.5, 0);
    adam_.clear_gradients();
  }
  fs::path run() const { return folder_.path() / "run"; }
  static core::ConfigNode settings() { return core::parse_yaml("lr: 1", "t"); }
  double restored() {
    const at::Tensor other = at::zeros({64, 64}).set_requires_grad(true);
    const AdamW adam({{"w", other}}, {});
    progress_ = restore_checkpoint(*latest_checkpoint(run()), *whole_state(adam), settings());
    return other.mean().item<double>();
  }

  testing::TemporaryDirectory folder_;
  at::Tensor parameter_;
  AdamW adam_;
  std::unique_ptr<TrainedState> state_ = whole_state(adam_);
  Warnings warnings_;
  Progress progress_;
};

TEST_F(Checkpoints, WhatIsWrittenBesideIsTheStateAtItsStep) {
  CheckpointWriter writer(run(), *state_, settings(), 2, warnings_);
  step();
  const double then = parameter_.mean().item<double>();
  writer.begin({.steps = 1, .best = BestSoFar{.step = 1, .loss = 2, .worse = 0, .data = "d"}});
  writer.wait_for_copy();
  for (int i = 0; i < 50; ++i) step();
  writer.finish();
  EXPECT_FALSE(writer.busy());
  EXPECT_NE(parameter_.mean().item<double>(), then);
  EXPECT_EQ(restored(), then);
  EXPECT_EQ(progress_.steps, 1);
  EXPECT_EQ(progress_.best->loss, 2);
  EXPECT_TRUE(warnings_.texts().empty());
}

TEST_F(Checkpoints, OneThatCannotBeWrittenIsWarnedOfAndTheNextIsTried) {
  fs::create_directories(run());
  std::ofstream(run() / "checkpoints") << "a file in the way";
  CheckpointWriter writer(run(), *state_, settings(), 2, warnings_);
  writer.begin({.steps = 1});
  writer.finish();
  ASSERT_EQ(warnings_.texts().size(), 1U);
  EXPECT_THAT(warnings_.texts()[0],
              HasSubstr("the checkpoint after step 1 could not be written (cannot create"));
  EXPECT_THAT(warnings_.texts()[0], HasSubstr("training goes on"));
  EXPECT_THROW(writer.write({.steps = 2}), core::ResourceError);  // the last one before the end
  fs::remove(run() / "checkpoints");
  writer.begin({.steps = 3});
  writer.finish();
  restored();
  EXPECT_EQ(progress_.steps, 3);
  EXPECT_EQ(warnings_.texts().size(), 1U);
}

TEST_F(Checkpoints, TheNewestAreKept) {
  CheckpointWriter writer(run(), *state_, settings(), 2, warnings_);
  for (std::int64_t i = 9; i <= 11; ++i) writer.begin({.steps = i});
  writer.finish();
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(run() / "checkpoints"))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("step-10", "step-11"));
}

// What a checkpoint did not say in an earlier version cannot differ.
TEST_F(Checkpoints, OneWithoutWhatIsComparedTodayIsTakenUp) {
  save_checkpoint(run(), {.steps = 1}, state_->tensors(), settings(), 2);
  const fs::path checkpoint = *latest_checkpoint(run());
  core::ConfigNode now = core::parse_yaml("{lr: 1, config.json: a, template: b}", "t");
  EXPECT_EQ(restore_checkpoint(checkpoint, *state_, now).steps, 1);
  save_checkpoint(run(), {.steps = 2}, state_->tensors(), now, 2);
  now = core::parse_yaml("{lr: 1, config.json: c, template: b}", "t");
  EXPECT_THROW(restore_checkpoint(*latest_checkpoint(run()), *state_, now), core::ConfigError);
  now = core::parse_yaml("{lr: 1, data fingerprint: c}", "t");
  EXPECT_THROW(restore_checkpoint(checkpoint, *state_, now), core::ConfigError);
}

}  // namespace
}  // namespace corda::train
