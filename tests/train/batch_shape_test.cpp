// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Batches that are filled up to a shape compute what they computed before.
#include "train/batch_shape.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "corda/adapter/initialise.h"
#include "corda/core/random.h"
#include "corda/model/adapt.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/step.h"

namespace corda::train {
namespace {

data::PackedBatch batch_of(const std::vector<std::int64_t>& lengths) {
  data::PackedBatch batch;
  for (const std::int64_t length : lengths) {
    data::Sample sample;
    for (std::int64_t t = 0; t < length; ++t) {
      sample.ids.push_back(static_cast<data::TokenId>((batch.tokens() + 31 * t + 5) % 96));
      sample.supervised.push_back(t % 4 != 0);
    }
    data::append(batch, sample);
  }
  return batch;
}

TEST(BatchShape, OneShapeServesBatchesOfAboutOneSize) {
  EXPECT_EQ(shape_for(batch_of({100, 300, 250})), shape_for(batch_of({101, 290, 260})));
  EXPECT_NE(shape_for(batch_of({100, 300, 250})), shape_for(batch_of({100, 300})));
  const BatchShape shape = shape_for(batch_of({100, 300, 250}));
  EXPECT_EQ(shape.tokens, 704);  // 650 rounded up to 64, then to four binary digits
  EXPECT_EQ(shape.sequences, 4);
  EXPECT_EQ(shape.longest, 512);
  EXPECT_EQ(shape.targets, 528);  // 487 of them; steps of a quarter
}

TEST(BatchShape, EqualLengthsThatFitStayWhatTheyAre) {
  EXPECT_EQ(shape_for(batch_of({128, 128, 128, 128})),
            (BatchShape{.tokens = 512, .sequences = 4, .targets = 384, .longest = 128}));
}

TEST(BatchShape, AFilledUpBatchHasItsShape) {
  core::Random random(5);
  for (int i = 0; i < 200; ++i) {
    std::vector<std::int64_t> lengths;
    for (std::uint64_t count = 1 + random.below(9); count > 0; --count)
      lengths.push_back(1 + static_cast<std::int64_t>(random.below(i % 2 == 0 ? 40 : 700)));
    const data::PackedBatch batch = batch_of(lengths);
    const BatchShape shape = shape_for(batch);
    const data::PackedBatch filled = filled_up(batch, shape);
    ASSERT_EQ(filled.tokens(), shape.tokens);
    ASSERT_EQ(filled.sequences(), shape.sequences);
    ASSERT_EQ(filled.targets(), shape.targets);
    ASSERT_EQ(filled.cu_seqlens.back(), shape.tokens);
    for (std::size_t s = 1; s < filled.cu_seqlens.size(); ++s)
      ASSERT_LE(filled.cu_seqlens[s] - filled.cu_seqlens[s - 1], shape.longest);
    ASSERT_TRUE(std::equal(batch.ids.begin(), batch.ids.end(), filled.ids.begin()));
    ASSERT_TRUE(
        std::equal(batch.target_rows.begin(), batch.target_rows.end(), filled.target_rows.begin()));
    ASSERT_TRUE(
        std::equal(batch.target_ids.begin(), batch.target_ids.end(), filled.target_ids.begin()));
    std::vector<std::int64_t> rows = filled.target_rows;
    std::sort(rows.begin(), rows.end());
    ASSERT_EQ(std::adjacent_find(rows.begin(), rows.end()), rows.end()) << "a row comes twice";
    if (rows.empty()) continue;  // sequences of one token have no target
    ASSERT_GE(rows.front(), 0);
    ASSERT_LT(rows.back(), shape.tokens);
  }
}

TEST(BatchShape, FillingUpChangesNeitherLossNorGradients) {
  const testing::TemporaryDirectory directory;
  testing::write_tiny_model(directory.path() / "model");
  const auto run = [&](bool fill) {
    model::Model model =
        model::load_model(io::Checkpoint(directory.path() / "model"),
                          model::read_model_config(directory.path() / "model"), {});
    adapter::Adapter adapter;
    adapter.rank = 4;
    adapter.alpha = 4;
    at::manual_seed(3);
    for (const model::Linear* linear : model.projections()) {
      auto layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), 4, 1,
                                            linear->name);
      layer.b = at::randn_like(layer.b) * 0.05;
      adapter.layers[linear->name] = std::move(layer);
    }
    model::attach_trainable(model, adapter);
    data::PackedBatch batch = batch_of({7, 33, 1, 20});
    if (fill) batch = filled_up(batch, shape_for(batch));
    const auto pass = make_low_rank_pass(model, {});
    pass->begin_step();
    std::vector<at::Tensor> result = {pass->run(batch, 0.01)};
    for (const model::Linear* linear : model.projections()) {
      result.push_back(linear->low_rank->a.grad().clone());
      result.push_back(linear->low_rank->b.grad().clone());
    }
    return result;
  };
  const auto expected = run(false);
  const auto actual = run(true);
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    // Sums over more rows, in another order.
    EXPECT_LT((actual[i] - expected[i]).abs().max().item<double>(),
              1e-5 * expected[i].abs().max().item<double>());
  }
}

}  // namespace
}  // namespace corda::train
