// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Batches that are filled up to a shape compute what they computed before.
#include "train/batch_shape.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

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

constexpr auto kServesAll = [](std::int64_t /*tokens*/) { return true; };

// Batches as a run on short texts has them: 81 samples in micro-batches of 8192 tokens.
std::vector<data::PackedBatch> batches_of_a_run(int steps) {
  core::Random random(11);
  std::vector<data::PackedBatch> batches;
  for (int step = 0; step < steps; ++step) {
    std::vector<data::Sample> samples(81);
    std::vector<const data::Sample*> pointers;
    for (data::Sample& sample : samples) {
      const std::uint64_t length = 90 + random.below(120) + random.below(120);
      sample.ids.assign(length, 7);
      for (std::uint64_t t = 0; t < length; ++t)
        sample.supervised.push_back(t > length / 2 ? 1 : 0);
      pointers.push_back(&sample);
    }
    for (auto& batch : data::make_micro_batches(pointers, 8192, true))
      batches.push_back(std::move(batch));
  }
  return batches;
}

// What counts is how many shapes are recorded, and how much is computed for nothing.
TEST(ShapeBook, ARunNeedsFewerShapesThanItHasBatchSizesAndWastesLittle) {
  const auto batches = batches_of_a_run(92);
  ShapeBook book;
  std::set<BatchShape> each;
  std::set<BatchShape> shared;
  std::int64_t tokens = 0;
  std::int64_t computed = 0;
  for (const data::PackedBatch& batch : batches) {
    each.insert(shape_for(batch));
    const BatchShape shape = book.shape_for(batch, kServesAll);
    shared.insert(shape);
    tokens += batch.tokens();
    computed += shape.tokens;
    const data::PackedBatch filled = filled_up(batch, shape);
    ASSERT_EQ(own_shape(filled).tokens, shape.tokens);
    ASSERT_EQ(filled.sequences(), shape.sequences);
    ASSERT_EQ(filled.targets(), shape.targets);
    ASSERT_LE(own_shape(filled).longest, shape.longest);
  }
  EXPECT_GE(each.size(), 20U);
  EXPECT_LE(shared.size(), 15U);
  EXPECT_LT(static_cast<double>(computed), 1.04 * static_cast<double>(tokens));
}

// The price of a shape is paid once, that of too large batches every time.
TEST(ShapeBook, ABatchThatComesOftenGetsAShapeOfItsOwn) {
  ShapeBook book;
  const BatchShape large = book.shape_for(batch_of({400, 300, 300}), kServesAll);
  const data::PackedBatch often = batch_of({300, 300, 200});
  EXPECT_EQ(book.shape_for(often, kServesAll), large);
  int times = 1;
  while (book.shape_for(often, kServesAll) == large) ASSERT_LT(++times, 100);
  EXPECT_EQ(book.shape_for(often, kServesAll), shape_for(often));
  EXPECT_GT(times, 5) << "recording costs as much as several batches";
}

TEST(ShapeBook, AShapeThatCannotBeRecordedServesNoOtherBatch) {
  ShapeBook book;
  const auto small = [](std::int64_t tokens) { return tokens <= 700; };
  EXPECT_EQ(book.shape_for(batch_of({400, 300, 300}), small).tokens, 1024);
  EXPECT_EQ(book.shape_for(batch_of({300, 200, 100}), small), shape_for(batch_of({300, 200, 100})));
}

// Attention is recorded for equal lengths there.
TEST(ShapeBook, AShapeOfEqualLengthsServesEqualLengthsOnly) {
  ShapeBook book;
  const BatchShape equal = book.shape_for(batch_of({128, 128, 128, 128}), kServesAll);
  EXPECT_EQ(equal.sequences * equal.longest, equal.tokens);
  core::Random random(3);
  for (int i = 0; i < 200; ++i) {
    std::vector<std::int64_t> lengths;
    for (std::uint64_t count = 1 + random.below(4); count > 0; --count)
      lengths.push_back(random.below(2) == 0 ? 128
                                             : 1 + static_cast<std::int64_t>(random.below(128)));
    const data::PackedBatch batch = batch_of(lengths);
    const BatchShape shape = book.shape_for(batch, kServesAll);
    if (shape.sequences * shape.longest > shape.tokens) continue;
    const data::PackedBatch filled = filled_up(batch, shape);
    for (std::size_t s = 1; s < filled.cu_seqlens.size(); ++s)
      ASSERT_EQ(filled.cu_seqlens[s] - filled.cu_seqlens[s - 1], shape.longest);
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
    for (const model::Linear* linear : model.linear_layers()) {
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
    for (const model::Linear* linear : model.linear_layers()) {
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
