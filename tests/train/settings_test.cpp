// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/train/train.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

std::string error_in(const std::string& yaml) {
  TrainSettings settings;
  return error_of<core::ConfigError>(
      [&] { settings_of(settings).read(core::parse_yaml(yaml, "t.yaml")); });
}

TEST(TrainSettings, ADataFileWithoutAPathNamesListAndLine) {
  EXPECT_EQ(error_in("data:\n  train:\n    - format: alpaca\n"),
            "t.yaml:3: a file of 'data.train' needs a 'path'");
  EXPECT_EQ(error_in("data:\n  eval: ['']\n"), "t.yaml:2: a file of 'data.eval' needs a 'path'");
  EXPECT_EQ(error_in("data:\n  train:\n    - path: a\n      columns:\n        b: [c]\n"),
            "t.yaml:5: the column of 'b' must be a name");
}

// Which has no line.
TEST(TrainSettings, AnEmptyPathFromCppIsRefusedInASentence) {
  TrainSettings settings;
  settings.model = "model";
  settings.out = "out";
  settings.data.train = {{.path = "a.jsonl"}, {.path = "", .format = "alpaca"}};
  core::Reporter reporter;
  EXPECT_EQ(error_of<core::ConfigError>([&] { train(settings, false, reporter); }),
            "a file of 'data.train' needs a 'path'");
}

TEST(TrainSettings, AWordFromCppThatIsNoChoiceIsRefused) {
  core::Reporter reporter;
  TrainSettings settings;
  settings.recompute = "selctive";
  settings.data.train = {{.path = "data.jsonl"}};
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { train(settings, false, reporter); }),
      HasSubstr("'recompute' must be one of auto, none, selective, block; it is 'selctive'"));
}

TEST(TrainSettings, WhatNeedsEvaluationsIsRefusedWithoutThem) {
  TrainSettings settings;
  settings.eval.patience = 2;
  settings.checkpoint.best = true;
  const std::string error = error_of<core::ConfigError>([&] { check(settings); });
  EXPECT_THAT(error, HasSubstr("'eval.patience' needs evaluations: 'eval.every' and 'data.eval'"));
  EXPECT_THAT(error, HasSubstr("'checkpoint.best' needs 'data.eval'"));
  settings.data.eval = {{.path = "a.jsonl"}};
  settings.eval.every = 10;
  check(settings);
}

TEST(TrainSettings, CheckpointsComeEveryTenMinutesAndTwoAreKept) {
  EXPECT_EQ(TrainSettings().checkpoint.minutes, 10);
  EXPECT_EQ(TrainSettings().checkpoint.keep, 2);
}

// A limit is for slips, not for tastes.
TEST(TrainSettings, UnusualValuesThatDoNoHarmAreTaken) {
  EXPECT_EQ(error_in("optim: {weight_decay: 100, lr: 20, eps: 1e-20, grad_clip: 1e12}\n"),
            "no error");
  EXPECT_EQ(error_in("optim: {micro_batch_tokens: 33554432}\ndata: {max_length: 2097152}\n"),
            "no error");
}

}  // namespace
}  // namespace corda::train
