// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Gradients of low-rank factors in every model family against PEFT's (scripts/golden/families.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "corda/adapter/adapter.h"
#include "corda/model/adapt.h"
#include "support/family_goldens.h"
#include "support/golden_batches.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/step.h"

namespace corda::train {
namespace {

class FamilyGradients : public ::testing::TestWithParam<std::string> {
 protected:
  // The golden factors beside every linear layer.
  model::Model load() const {
    model::Model model = golden_.load();
    adapter::Adapter adapter;
    adapter.rank = gradients_.at("rank").get<std::int64_t>();
    adapter.alpha = gradients_.at("alpha").get<double>();
    for (const model::Linear* linear : model.linear_layers()) {
      adapter::LayerAdapter layer;
      layer.a = testing::hashed_tensor(
          linear->name + ".lora_A", {adapter.rank, linear->weight.size(1)}, testing::kFactorSize);
      layer.b = testing::hashed_tensor(
          linear->name + ".lora_B", {linear->weight.size(0), adapter.rank}, testing::kFactorSize);
      adapter.layers[linear->name] = std::move(layer);
    }
    model::attach_trainable(model, adapter);
    return model;
  }

  // The golden sequences, every token but the first of each a target.
  std::vector<data::Sample> samples() const {
    std::vector<data::Sample> result;
    for (const auto& ids : golden_.ids()) {
      std::vector<std::uint8_t> supervised(ids.size(), 1);
      supervised.front() = 0;
      result.push_back({.ids = ids, .supervised = std::move(supervised)});
    }
    return result;
  }

  void expect_gradients(GradientPass& pass, bool packing) const {
    const auto result =
        accumulate_gradients(pass, testing::micro_batches(samples(), 8192, packing), 0);
    const auto loss = gradients_.at("loss").get<double>();
    EXPECT_NEAR(result.loss(), loss, 1e-5 * loss);
    const core::Json& modules = gradients_.at("modules");
    std::size_t compared = 0;
    for (const model::Linear* linear : pass.model().linear_layers()) {
      ASSERT_TRUE(modules.contains(linear->name)) << linear->name;
      const core::Json& golden = modules.at(linear->name);
      for (const auto& [factor, tensor] :
           {std::pair{"lora_A", linear->low_rank->a}, std::pair{"lora_B", linear->low_rank->b}}) {
        const std::string name = linear->name + "." + factor;
        // fp32 sums in another order; the golden has seven digits.
        EXPECT_LT(testing::probe_error(name, tensor.grad(), golden.at(factor)), 1e-4) << name;
      }
      ++compared;
    }
    EXPECT_EQ(compared, modules.size());
  }

  const testing::FamilyGolden golden_{GetParam()};
  const core::Json& gradients_ = golden_.expected().at("gradients");
};

TEST_P(FamilyGradients, OfAutogradMatchPeft) {
  for (const bool packing : {true, false}) {
    model::Model model = load();
    expect_gradients(*make_autograd_pass(model), packing);
  }
}

TEST_P(FamilyGradients, OfTheHandWrittenPassMatchPeft) {
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    model::Model model = load();
    ASSERT_TRUE(supports_low_rank_pass(model));
    expect_gradients(*make_low_rank_pass(model, {.recompute = recompute}), /*packing=*/true);
  }
}

TEST_P(FamilyGradients, OfTheHandWrittenPassMatchPeftASampleAtATime) {
  model::Model model = load();
  ASSERT_TRUE(supports_low_rank_pass(model));
  expect_gradients(*make_low_rank_pass(model, {}), /*packing=*/false);
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyGradients,
                         ::testing::ValuesIn(testing::family_goldens("gradients")),
                         [](const auto& tested) { return testing::test_name(tested.param); });

TEST(FamilyGradientGoldens, AllAreTested) {
  EXPECT_EQ(testing::family_goldens("gradients").size(), 46U);
}

}  // namespace
}  // namespace corda::train
