// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/adapt.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

// Gives one A to all layers whose input has its width, as mode dual does to those of one site.
Model with_equal_a(const std::filesystem::path& directory, bool train_a) {
  Model model = testing::load_tiny_model(directory);
  adapter::Adapter adapter;
  adapter.rank = 4;
  adapter.alpha = 4;
  adapter.train_a = train_a;
  for (const Linear* linear : model.linear_layers()) {
    const at::Tensor& weight = linear->weight;
    adapter::LayerAdapter& layer = adapter.layers[linear->name];
    layer.a = at::ones({4, weight.size(1)});
    layer.b = at::zeros({weight.size(0), 4});
  }
  attach_trainable(model, adapter);
  return model;
}

TEST(AttachTrainable, EqualFrozenAOfAdjacentProjectionsIsOneTensor) {
  const testing::TemporaryDirectory directory;
  const Model model = with_equal_a(directory.path(), /*train_a=*/false);
  const auto& qkv = model.blocks.front().sites[kAttentionInput];
  const auto& gate_up = model.blocks.front().sites[kFeedForwardInput];
  const Linear& down = model.blocks.front().sites[kFeedForwardOutput].front();
  EXPECT_TRUE(qkv[1].low_rank->a.is_same(qkv[0].low_rank->a));
  EXPECT_TRUE(qkv[2].low_rank->a.is_same(qkv[0].low_rank->a));
  EXPECT_TRUE(gate_up[1].low_rank->a.is_same(gate_up[0].low_rank->a));
  EXPECT_FALSE(down.low_rank->a.is_same(gate_up[1].low_rank->a));
  EXPECT_FALSE(qkv[1].low_rank->b.is_same(qkv[0].low_rank->b));
}

TEST(AttachTrainable, EqualTrainedAsStayApart) {
  const testing::TemporaryDirectory directory;
  const Model model = with_equal_a(directory.path(), /*train_a=*/true);
  const auto& qkv = model.blocks.front().sites[kAttentionInput];
  EXPECT_FALSE(qkv[1].low_rank->a.is_same(qkv[0].low_rank->a));
}

// Layers of rank 2 and 3 with alpha 4 and 9 in an adapter of rank 2 and alpha 4.
adapter::Adapter with_ranks_of_their_own(Model& model) {
  adapter::Adapter adapter;
  adapter.rank = 2;
  adapter.alpha = 4;
  for (const Linear* linear : {&model.blocks[0].sites[kAttentionInput][0],
                               &model.blocks[1].sites[kFeedForwardOutput][0]}) {
    const bool own = linear == &model.blocks[1].sites[kFeedForwardOutput][0];
    adapter::LayerAdapter& layer = adapter.layers[linear->name];
    layer.a = at::ones({own ? 3 : 2, linear->weight.size(1)});
    layer.b = at::ones({linear->weight.size(0), own ? 3 : 2});
    if (own) layer.alpha = 9;
  }
  return adapter;
}

TEST(FoldAdapter, EachLayerHasItsOwnScale) {
  const testing::TemporaryDirectory directory;
  Model model = testing::load_tiny_model(directory.path());
  const at::Tensor q = model.blocks[0].sites[kAttentionInput][0].weight.clone();
  const at::Tensor down = model.blocks[1].sites[kFeedForwardOutput][0].weight.clone();
  fold_adapter(model, with_ranks_of_their_own(model));
  EXPECT_TRUE(at::allclose(model.blocks[0].sites[kAttentionInput][0].weight,
                           q + 4));  // 4 / 2 of a sum of 2
  EXPECT_TRUE(at::allclose(model.blocks[1].sites[kFeedForwardOutput][0].weight,
                           down + 9));  // 9 / 3 of a sum of 3
}

TEST(AttachTrainable, EachLayerHasItsOwnScale) {
  const testing::TemporaryDirectory directory;
  Model model = testing::load_tiny_model(directory.path());
  attach_trainable(model, with_ranks_of_their_own(model));
  EXPECT_EQ(model.blocks[0].sites[kAttentionInput][0].low_rank->scale, 2);
  EXPECT_EQ(model.blocks[1].sites[kFeedForwardOutput][0].low_rank->scale, 3);
}

TEST(FoldAdapter, AHeadOfItsOwnIsFoldedATiedOneAndTrainingRefused) {
  const testing::TemporaryDirectory directory;
  Model model = testing::load_tiny_model(directory.path());
  adapter::Adapter adapter;
  adapter.rank = 1;
  adapter.alpha = 1;
  adapter.layers["lm_head"] = {
      .a = at::ones({1, 32}), .b = at::ones({96, 1}), .a0 = {}, .b0 = {}, .magnitude = {}};
  EXPECT_THAT(testing::error_of<core::FormatError>([&] { attach_trainable(model, adapter); }),
              ::testing::HasSubstr("'lm_head', the model's head, which corda cannot train"));
  const at::Tensor before = model.head.weight.clone();
  fold_adapter(model, adapter);
  EXPECT_TRUE(at::allclose(model.head.weight, before + 1));
  model.head.weight = at::Tensor();
  EXPECT_THAT(testing::error_of<core::FormatError>([&] { fold_adapter(model, adapter); }),
              ::testing::HasSubstr("tied to the embedding"));
}

}  // namespace
}  // namespace corda::model
