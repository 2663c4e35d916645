// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Runs whose adapter keeps one factor as it is, and those whose layers have ranks of their own.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/io/safetensors.h"
#include "corda/linalg/spectrum.h"
#include "corda/train/train.h"
#include "small_run.h"
#include "support/error_of.h"
#include "train/trainable.h"

namespace corda::train {
namespace {

using corda::testing::error_of;
using ::testing::Each;
using ::testing::HasSubstr;

class FrozenFactor : public corda::testing::SmallRun {
 protected:
  // An adapter as mode mica makes it; `own_ranks`: the second block's layers have rank 2, the
  // others 5.
  adapter::Adapter minor_components(bool own_ranks) const {
    adapter::Adapter made;
    made.method = "corda";
    made.mode = "mica";
    made.rank = 5;
    made.alpha = 10;
    made.train_b = false;
    const auto base = folder_.path() / "base";
    model::Model model =
        model::load_model(io::Checkpoint(base), model::read_model_config(base), {});
    for (const model::Linear* linear : model.linear_layers()) {
      const bool own = own_ranks && linear->name.find("layers.1.") != std::string::npos;
      adapter::LayerAdapter& layer = made.layers[linear->name];
      layer = adapter::initialise_mica(linalg::svd_bottom(linear->weight, own ? 2 : 5),
                                       linear->weight.size(1));
      if (own) layer.alpha = 4;
    }
    return made;
  }
  TrainSettings run_from(const adapter::Adapter& made, const std::string& out) const {
    const std::string start = (folder_.path() / (out + "-start")).string();
    std::filesystem::create_directories(start);
    adapter::write_adapter(start, made);
    TrainSettings run = small_settings(out);
    run.method = "corda";
    run.adapter = start;
    run.lora.rank = 0;
    return run;
  }
  adapter::Adapter trained(const TrainSettings& run) {
    train(run, false, reporter_);
    return adapter::read_adapter(std::filesystem::path(run.out) / "adapter");
  }
};

TEST_F(FrozenFactor, OfMicaIsBWhichStaysToTheLastBitWhileALearns) {
  const adapter::Adapter start = minor_components(false);
  for (const std::string gradients : {"fused", "autograd", "kernels"}) {
    SCOPED_TRACE(gradients);
    TrainSettings run = run_from(start, gradients);
    run.gradients = gradients;
    const adapter::Adapter end = trained(run);
    EXPECT_FALSE(end.train_b);
    EXPECT_EQ(end.mode, "mica");
    ASSERT_EQ(end.layers.size(), start.layers.size());
    for (const auto& [module, layer] : end.layers) {
      EXPECT_TRUE(at::equal(layer.b, start.layers.at(module).b)) << module;
      EXPECT_GT(layer.a.abs().max().item<float>(), 1e-4F) << module;
    }
  }
}

TEST_F(FrozenFactor, HasNoOptimizerStateAndIsNoParameter) {
  core::Reporter silent;
  Trainable frozen(run_from(minor_components(false), "names"), at::kCPU, silent);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : frozen.parameters()) names.push_back(name);
  EXPECT_EQ(names.size(), 14U);
  EXPECT_THAT(names, Each(::testing::EndsWith(".lora_A")));
  TrainSettings asked = run_from(minor_components(false), "asked");
  asked.train_b = "true";
  Trainable both(asked, at::kCPU, silent);
  EXPECT_EQ(both.parameters().size(), 28U);
}

// Both gradient passes, on layers that share a site with none of another rank and with.
TEST_F(FrozenFactor, LayersOfOtherRanksTrainAlikeInBothPasses) {
  adapter::Adapter start = minor_components(true);
  // One site of three ranks.
  for (const auto& [leaf, rank] : {std::pair("k_proj", 3), std::pair("v_proj", 9)}) {
    const std::string module = std::string("model.layers.0.self_attn.") + leaf;
    adapter::LayerAdapter& layer = start.layers.at(module);
    layer = adapter::initialise_lora(layer.b.size(0), layer.a.size(1), rank, 1, module);
    layer.alpha = 2 * rank;
  }
  start.train_b = true;
  TrainSettings run = run_from(start, "fused");
  run.gradients = "fused";
  const adapter::Adapter fused = trained(run);
  run.gradients = "autograd";
  run.out = (folder_.path() / "autograd").string();
  const adapter::Adapter reference = trained(run);
  ASSERT_EQ(fused.layers.size(), 14U);
  for (const auto& [module, layer] : fused.layers) {
    const adapter::LayerAdapter& expected = reference.layers.at(module);
    ASSERT_EQ(layer.a.sizes(), start.layers.at(module).a.sizes()) << module;
    EXPECT_EQ(fused.scale_of(layer), 2.0) << module;
    // Adam's first steps are signs of gradients, of which few are near zero.
    EXPECT_LT((layer.a - expected.a).norm().item<double>(), 1e-2 * expected.a.norm().item<double>())
        << module;
    EXPECT_LT((layer.b - expected.b).norm().item<double>(), 1e-2 * expected.b.norm().item<double>())
        << module;
  }
}

TEST_F(FrozenFactor, NothingToLearnIsRefused) {
  TrainSettings run = run_from(minor_components(false), "none");
  run.train_a = "false";
  core::Reporter silent;
  EXPECT_EQ(error_of<core::ConfigError>([&] { train(run, false, silent); }),
            "neither A nor B would be trained: the adapter '" + run.adapter +
                "' keeps B as it is, and train_a is false; set one of train_a and train_b to true");
  run.train_b = "false";
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, false, silent); }),
              HasSubstr("train_a and train_b are both false, so nothing would be learnt"));
  run = small_settings("zeros");
  run.train_b = "false";
  EXPECT_THAT(error_of<core::ConfigError>([&] { train(run, false, silent); }),
              HasSubstr("a new adapter of method lora has a B of zeros"));
}

}  // namespace
}  // namespace corda::train
