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
  const Block& block = model.blocks.front();
  EXPECT_TRUE(block.k.low_rank->a.is_same(block.q.low_rank->a));
  EXPECT_TRUE(block.v.low_rank->a.is_same(block.q.low_rank->a));
  EXPECT_TRUE(block.up.low_rank->a.is_same(block.gate.low_rank->a));
  EXPECT_FALSE(block.down.low_rank->a.is_same(block.up.low_rank->a));
  EXPECT_FALSE(block.k.low_rank->b.is_same(block.q.low_rank->b));
}

TEST(AttachTrainable, EqualTrainedAsStayApart) {
  const testing::TemporaryDirectory directory;
  const Model model = with_equal_a(directory.path(), /*train_a=*/true);
  EXPECT_FALSE(model.blocks.front().k.low_rank->a.is_same(model.blocks.front().q.low_rank->a));
}

}  // namespace
}  // namespace corda::model
