// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which gradient pass a run gets.
#include "train/choose_pass.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "tiny_lora.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

class ChoosePass : public ::testing::Test {
 protected:
  model::Model load(double dropout = 0, bool dora = false) {
    return testing::load_tiny_lora(directory_.path() / "model", dropout, dora);
  }
  static TrainSettings with(std::string TrainSettings::*setting, const char* value) {
    TrainSettings settings;
    settings.*setting = value;
    return settings;
  }
  std::string chosen(const TrainSettings& settings, model::Model model) {
    core::Reporter reporter;
    return choose_pass(settings, model, kLargest, reporter).pass->describe();
  }

  static constexpr LargestBatches kLargest = {.sample = 64, .micro_batch = 64, .evaluated = 64};
  testing::TemporaryDirectory directory_;
};

TEST_F(ChoosePass, AutoOnTheCpuIsFusedForPlainLoraAndAutogradForTheRest) {
  EXPECT_EQ(chosen({}, load()), "fused, nothing recomputed");
  EXPECT_EQ(chosen({}, load(/*dropout=*/0.1)), "autograd");
  EXPECT_EQ(chosen({}, load(0, /*dora=*/true)), "autograd");
}

TEST_F(ChoosePass, WhatIsAskedForIsDone) {
  EXPECT_EQ(chosen(with(&TrainSettings::gradients, "autograd"), load()), "autograd");
  EXPECT_EQ(chosen(with(&TrainSettings::gradients, "kernels"), load()), "autograd over kernels");
  EXPECT_EQ(chosen(with(&TrainSettings::recompute, "selective"), load()),
            "fused, gate and up recomputed");
  EXPECT_EQ(chosen(with(&TrainSettings::recompute, "block"), load()),
            "fused, every block recomputed");
}

TEST_F(ChoosePass, Float8IsFused) {
  // q, k and v together, and what goes into them, are multiples of 128; of the feed-forward its
  // input alone is.
  EXPECT_EQ(chosen(with(&TrainSettings::precision, "fp8"),
                   testing::load_tiny_lora(directory_.path() / "wide", 0, false,
                                           {.hidden = 128, .intermediate = 192})),
            "fused, nothing recomputed, frozen products of 12 of 14 layers in float8");
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { chosen(with(&TrainSettings::precision, "fp8"), load()); }),
      HasSubstr("none of this model is ('model.layers.0.self_attn.q_proj' is 32 x 32); use "
                "precision: bf16"));
  EXPECT_THAT(
      error_of<core::ConfigError>(
          [&] { chosen(with(&TrainSettings::precision, "fp8"), load(/*dropout=*/0.1)); }),
      HasSubstr("'precision: fp8' need a LoRA without dropout (method lora, pissa or corda); "
                "this run has dropout 0.1"));
}

TEST_F(ChoosePass, Float8IsRefusedBelowComputeCapability8Point9) {
  EXPECT_EQ(
      error_of<core::ConfigError>([] { require_float8_gpu("NVIDIA A100-SXM4-80GB", 8, 0); }),
      "'precision: fp8' needs a GPU of compute capability 8.9 (Ada, Hopper) or newer, and 'NVIDIA "
      "A100-SXM4-80GB' has 8.0; use precision: bf16");
  EXPECT_THAT(error_of<core::ConfigError>([] { require_float8_gpu("RTX 3090", 8, 6); }),
              HasSubstr("'RTX 3090' has 8.6"));
  EXPECT_NO_THROW(require_float8_gpu("NVIDIA L4", 8, 9));
  EXPECT_NO_THROW(require_float8_gpu("NVIDIA H100 80GB HBM3", 9, 0));
}

TEST_F(ChoosePass, WhatCannotBeDoneIsRefused) {
  const auto error = [&](const TrainSettings& settings, model::Model model) {
    return error_of<core::ConfigError>([&] { chosen(settings, std::move(model)); });
  };
  EXPECT_THAT(error(with(&TrainSettings::gradients, "fused"), load(0.1)),
              HasSubstr("this run has dropout 0.1"));
  EXPECT_THAT(error(with(&TrainSettings::recompute, "block"), load(0, true)),
              HasSubstr("this run is a DoRA"));
  EXPECT_THAT(error(with(&TrainSettings::offload, "true"), load()), HasSubstr("needs a GPU"));
}

TEST_F(ChoosePass, WhatAutoBecameIsTold) {
  model::Model model = load();
  core::Reporter reporter;
  const ChosenPass chosen = choose_pass({}, model, kLargest, reporter);
  EXPECT_EQ(chosen.gradients, "fused");
  EXPECT_EQ(chosen.recompute, "none");
  EXPECT_EQ(chosen.offload, "false");
  model::Model dora = load(0, /*dora=*/true);
  EXPECT_EQ(choose_pass({}, dora, kLargest, reporter).gradients, "autograd");
  TrainSettings settings;
  settings.gradients = "kernels";
  EXPECT_EQ(choose_pass(settings, dora, kLargest, reporter).gradients, "kernels");
}

}  // namespace
}  // namespace corda::train
