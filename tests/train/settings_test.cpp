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

// A path that was set from C++ has no line that a message could name.
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

TEST(TrainSettings, LeversThatContradictEachOtherAreRefused) {
  TrainSettings settings;
  settings.optim.weight_decay = 0.1;
  settings.optim.decay_total = 2;
  settings.optim.lora_plus_ratio = 16;
  settings.method = "full";
  settings.lora.use_rslora = true;
  settings.data.replay.files = {{.path = "wiki.txt", .weight = 2}};
  const std::string error = error_of<core::ConfigError>([&] { check(settings); });
  EXPECT_EQ(error,
            "'optim.weight_decay' (0.1) and 'optim.decay_total' (2) both say how much decays; "
            "remove one\n"
            "'optim.lora_plus_ratio' is of an adapter's B; method full has none\n"
            "'data.replay' needs both: a 'path', and a 'share' above 0\n"
            "'weight' is of training files; 'data.replay.share' is that of replay");
  settings = {};
  settings.adapter = "start";
  settings.lora.use_rslora = true;
  settings.data.replay = {.files = {{.path = "wiki.txt"}}, .share = 1};
  EXPECT_EQ(error_of<core::ConfigError>([&] { check(settings); }),
            "'lora.use_rslora' is of a new adapter; 'start' has its own scale; remove the setting\n"
            "'data.replay.share' is 1, which leaves nothing to the training files");
  settings = {};
  settings.data.replay.share = 0.1;
  EXPECT_EQ(error_of<core::ConfigError>([&] { check(settings); }),
            "'data.replay' needs both: a 'path', and a 'share' above 0");
}

TEST(TrainSettings, ReplayIsAMapOfPathAndShare) {
  TrainSettings settings;
  settings_of(settings).read(core::parse_yaml(
      "data: {train: a.jsonl, replay: {path: [{path: w.txt, count: 9}, v.txt], share: 0.05}}\n"
      "loss: {weighting: eaft}\ngauge: {covariance: cov, every: 5}\n",
      "t.yaml"));
  const auto files = training_files(settings);
  ASSERT_EQ(files.size(), 3U);
  EXPECT_EQ(files[0].path, "a.jsonl");
  EXPECT_EQ(files[1].count, 9);
  EXPECT_EQ(files[2].path, "v.txt");
  EXPECT_EQ(settings.data.replay.share, 0.05);
  EXPECT_EQ(settings.loss.power(), 1);
  EXPECT_EQ(TrainSettings().loss.power(), 0);
}

// The length of the run is then in the decay of every step.
TEST(TrainSettings, ADecayInTotalBindsTheLengthOfARun) {
  TrainSettings settings;
  settings.optim.schedule = "constant";
  settings.optim.warmup_ratio = 0;
  const auto binds = [&] {
    const std::string text = core::to_yaml(settings_of(settings).binding());
    return text.find("max_steps") != std::string::npos;
  };
  EXPECT_FALSE(binds());
  settings.optim.decay_total = 1;
  EXPECT_TRUE(binds());
}

TEST(TrainSettings, Float8IsOfFusedProductsWhateverHoldsTheWeights) {
  TrainSettings settings;
  settings.precision = "fp8";
  settings.data.train = {{.path = "a.jsonl"}};
  for (const char* base : {"auto", "nf4", "fp8"}) {
    settings.base = base;
    settings.shard = !settings.shard;
    check(settings);
  }
  settings.gradients = "kernels";
  settings.method = "dora";
  EXPECT_EQ(error_of<core::ConfigError>([&] { check(settings); }),
            "'recompute', 'offload' and 'precision: fp8' need 'gradients' fused, not kernels\n"
            "'gradients: fused', 'recompute', 'offload' and 'precision: fp8' need a LoRA without "
            "dropout (method lora, pissa or corda); this run has method dora; leave these settings "
            "at auto");
}

// A limit is for slips, not for tastes.
TEST(TrainSettings, UnusualValuesThatDoNoHarmAreTaken) {
  EXPECT_EQ(error_in("optim: {weight_decay: 1e9, lr: 20, eps: 1e-20, grad_clip: 1e12}\n"),
            "no error");
  EXPECT_THAT(error_in("optim: {weight_decay: -1}\n"), HasSubstr("0 or more"));
  EXPECT_EQ(error_in("optim: {micro_batch_tokens: 33554432}\ndata: {max_length: 2097152}\n"),
            "no error");
}

}  // namespace
}  // namespace corda::train
