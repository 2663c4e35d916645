// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which gradient pass a run gets, what that takes, and what a step computes.
#include "train/choose_pass.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/model/adapt.h"
#include "corda/train/train.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/flops.h"
#include "train/low_rank_pass.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

class ChoosePass : public ::testing::Test {
 protected:
  // The tiny model (2 blocks, hidden 32, intermediate 48, 4 and 2 heads, vocabulary 96), rank 4.
  model::Model load(double dropout = 0, bool dora = false) {
    model::Model model = testing::load_tiny_model(directory_.path() / "model");
    adapter::Adapter adapter;
    adapter.rank = 4;
    adapter.alpha = 4;
    adapter.dropout = dropout;
    for (const model::Linear* linear : model.projections()) {
      auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), 4, 1,
                                            linear->name);
      if (dora) layer.magnitude = adapter::dora_magnitude(linear->weight);
      adapter.layers[linear->name] = std::move(layer);
    }
    model::attach_trainable(model, adapter);
    return model;
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

TEST_F(ChoosePass, AWordFromCppThatIsNoChoiceIsRefused) {
  core::Reporter reporter;
  TrainSettings settings = with(&TrainSettings::recompute, "selctive");
  settings.data.train = {{.path = "data.jsonl"}};
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { train(settings, false, reporter); }),
      HasSubstr("'recompute' must be one of auto, none, selective, block; it is 'selctive'"));
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

TEST_F(ChoosePass, PackedFactorsAndTheirGradientsAreCounted) {
  model::Model model = load();
  const std::int64_t fixed = low_rank_pass_bytes(model, {});
  for (model::Linear* linear : model.projections()) linear->low_rank.reset();
  // Both blocks, rank 4 and so 8 columns a projection: windows of as many columns and rows round
  // [64, 32] (q, k, v), [32, 32], [96, 32] and [32, 48]; fp32. Gradients: rank x (in + out) of each
  // projection.
  const std::int64_t packed =
      24 * (64 + 32 + 24) + 8 * (32 + 32 + 8) + 16 * (96 + 32 + 16) + 8 * (32 + 48 + 8);
  const std::int64_t gradients = 4 * (2 * (32 + 32) + 2 * (16 + 32) + 3 * (48 + 32));
  EXPECT_EQ(fixed - low_rank_pass_bytes(model, {}), 2 * 4 * (packed + gradients));
}

TEST_F(ChoosePass, EachStepOfTheLadderTakesLessMemory) {
  model::Model model = load();
  const auto bytes = [&](Recompute recompute, bool offload, std::int64_t tokens) {
    return low_rank_pass_bytes(model, {recompute, offload, tokens}) -
           low_rank_pass_bytes(model, {recompute, offload, 0});
  };
  EXPECT_GT(bytes(Recompute::kNone, false, 1000), bytes(Recompute::kSelective, false, 1000));
  EXPECT_GT(bytes(Recompute::kSelective, false, 1000), bytes(Recompute::kBlock, false, 1000));
  EXPECT_EQ(bytes(Recompute::kBlock, false, 2000), 2 * bytes(Recompute::kBlock, false, 1000));
  // Gate and up of one of the two blocks: 2 x 48 columns in fp32.
  EXPECT_EQ(bytes(Recompute::kNone, false, 1) - bytes(Recompute::kSelective, false, 1), 96 * 4);
}

TEST_F(ChoosePass, AttentionInFp32RunsTwiceAndRepeatsSharedHeads) {
  model::Model model = load();
  const auto per_token = [&](at::ScalarType compute) {
    model.compute = compute;
    return low_rank_pass_bytes(model, {.tokens = 1}) - low_rank_pass_bytes(model, {.tokens = 0});
  };
  // 32 query features: the second output, k and v of all heads, their gradients; 4 bytes each.
  EXPECT_EQ(per_token(at::kFloat), 2 * per_token(at::kBFloat16) + 4 * 5 * 32);
  model.config.num_kv_heads = 4;
  EXPECT_EQ(per_token(at::kFloat), 2 * per_token(at::kBFloat16) + 4 * 32);
}

TEST_F(ChoosePass, FlopsOfAStepAreCountedByHand) {
  model::Model model = load();
  // Weights of a block: q, o 32 x 32; k, v 16 x 32; gate, up, down 48 x 32. Factors: rank 4 times
  // in + out of each.
  const double frozen = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32;
  const double factors = 4 * (2 * (32 + 32) + 2 * (16 + 32) + 3 * (48 + 32));
  const double head = 96 * 32;
  // The input of the lowest q, k and v needs no gradient: nothing below is trained.
  const double lowest = (32 + 2 * 16) * 32 + 3 * 4 * 32;
  const double lora = 10 * (2 * (4 * frozen + 6 * factors) - 2 * lowest) + 7 * 4 * head;
  EXPECT_EQ(flops_of_step(model, 10, 7, 3), lora);
  // DoRA's norms: W A^T, A A^T and B (A A^T), 2 x 4 operations an entry of W, A and B, three times.
  for (model::Linear* linear : model.projections())
    linear->low_rank->magnitude = at::ones({linear->weight.size(0)});
  EXPECT_EQ(flops_of_step(model, 10, 7, 3), lora + 3 * 2 * 2 * 4 * (frozen + factors));
}

TEST_F(ChoosePass, AFrozenAOfSeveralLayersIsCountedOnce) {
  model::Model model = load();
  for (model::Linear* linear : model.projections()) linear->low_rank->a.set_requires_grad(false);
  const double apart = flops_of_step(model, 10, 7, 1);
  for (model::Block& block : model.blocks) {
    block.k.low_rank->a = block.v.low_rank->a = block.q.low_rank->a;
    block.up.low_rank->a = block.gate.low_rank->a;
  }
  // Three factors of 4 x 32 less in each block, forward and for the gradient of the input, which
  // the lowest q, k and v do not need.
  EXPECT_EQ(apart - flops_of_step(model, 10, 7, 1), 10 * 2 * 4 * 32 * (2 * 3 * 2 - 2));
}

TEST_F(ChoosePass, NoBackwardIsCountedBelowTheLowestAdapter) {
  model::Model model = load();
  for (model::Linear* linear : model.projections())
    if (!linear->name.ends_with("layers.1.mlp.gate_proj")) linear->low_rank.reset();
  const double attention = 2 * 32 * 32 + 2 * 16 * 32;
  const double gate = 48 * 32;
  // Forward of everything; backward of the head, of the upper down projection and of B; A's and
  // B's own gradients.
  const double forward = 2 * (attention + 3 * gate) + 4 * (48 + 32);
  const double backward = gate + 4 * 48 + 4 * (48 + 32);
  EXPECT_EQ(flops_of_step(model, 10, 7, 3), 10 * 2 * (forward + backward) + 7 * 4 * 96 * 32);
  model.blocks[1].gate.low_rank->a.set_requires_grad(false);  // then B's input needs none either
  EXPECT_EQ(flops_of_step(model, 10, 7, 3), 10 * 2 * (forward + gate + 4 * 48) + 7 * 4 * 96 * 32);
}

}  // namespace
}  // namespace corda::train
