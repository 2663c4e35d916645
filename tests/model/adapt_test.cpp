// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/adapt.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

// One A for all projections whose input has its width, as mode dual gives those of one site.
Model with_equal_a(const std::filesystem::path& directory, bool train_a) {
  Model model = testing::load_tiny_model(directory);
  adapter::Adapter adapter;
  adapter.rank = 4;
  adapter.alpha = 4;
  adapter.train_a = train_a;
  for (const Linear* linear : model.projections()) {
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

}  // namespace
}  // namespace corda::model
