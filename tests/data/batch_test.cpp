// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "data/data_helpers.h"

namespace corda::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Sample of_length(std::size_t length, TokenId id) {
  Sample sample{.ids = std::vector<TokenId>(length, id),
                .supervised = std::vector<std::uint8_t>(length, 1)};
  return sample;
}

TEST(PackedBatch, LaysSamplesEndToEndAndKeepsThemApart) {
  PackedBatch batch;
  append(batch, Sample{.ids = {1, 2, 3}, .supervised = {0, 0, 1}});
  append(batch, Sample{.ids = {4, 5}, .supervised = {1, 1}});  // 4 follows nothing: no target
  append(batch, std::vector<TokenId>{6, 7});
  EXPECT_THAT(batch.ids, ElementsAre(1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 0, 1, 0, 1));
  EXPECT_THAT(batch.cu_seqlens, ElementsAre(0, 3, 5, 7));
  EXPECT_THAT(batch.target_rows, ElementsAre(1, 3));
  EXPECT_THAT(batch.target_ids, ElementsAre(3, 5));
  EXPECT_EQ(batch.tokens(), 7);
  EXPECT_EQ(batch.sequences(), 3);
  EXPECT_EQ(batch.targets(), 2);
}

TEST(PackedBatch, EmptySampleLeavesNoSequence) {
  PackedBatch batch;
  append(batch, Sample{});
  EXPECT_EQ(batch.sequences(), 0);
}

TEST(PackedBatch, MaskOfAnotherLengthIsABug) {
  PackedBatch batch;
  EXPECT_THAT(message_of<core::InternalError>([&] {
                append(batch, Sample{.ids = {1, 2}, .supervised = {1}});
              }),
              HasSubstr("2 tokens and 1 entries"));
}

TEST(MicroBatches, PacksLongestFirstAndLosesNothing) {
  const std::vector<Sample> samples = {of_length(3, 1), of_length(6, 2), of_length(4, 3),
                                       of_length(12, 4), of_length(3, 5)};
  std::vector<const Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  const auto batches = make_micro_batches(pointers, 10, true);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_THAT(batches[0].ids, ElementsAre(4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4));
  EXPECT_THAT(batches[1].ids, ElementsAre(2, 2, 2, 2, 2, 2, 3, 3, 3, 3));
  EXPECT_THAT(batches[2].ids, ElementsAre(1, 1, 1, 5, 5, 5));
  EXPECT_THAT(batches[2].target_rows, ElementsAre(0, 1, 3, 4));
}

TEST(MicroBatches, WithoutPackingEverySampleStandsAlone) {
  const std::vector<Sample> samples = {of_length(2, 1), of_length(5, 2), of_length(2, 3)};
  const std::vector<const Sample*> pointers = {&samples[0], &samples[1], &samples[2]};
  const auto batches = make_micro_batches(pointers, 100, false);
  ASSERT_EQ(batches.size(), 3U);
  EXPECT_EQ(batches[0].ids.front(), 2);
  EXPECT_EQ(batches[1].ids.front(), 1);
  EXPECT_EQ(batches[2].ids.front(), 3);
  EXPECT_THAT(message_of<core::ConfigError>([&] { make_micro_batches(pointers, 0, true); }),
              HasSubstr("micro_batch_tokens must be positive; it is 0"));
}

TEST(EpochSampler, EveryEpochCoversEverySampleOnceInAnotherOrder) {
  EpochSampler sampler(10, 4, 42);
  ASSERT_EQ(sampler.steps_per_epoch(), 3);
  std::vector<std::vector<std::int64_t>> epochs(2);
  for (std::int64_t step = 0; step < 6; ++step) {
    const auto indices = sampler.indices_of(step);
    EXPECT_EQ(indices.size(), step % 3 == 2 ? 2U : 4U);
    auto& epoch = epochs[static_cast<std::size_t>(step / 3)];
    epoch.insert(epoch.end(), indices.begin(), indices.end());
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto epoch : epochs) {
    std::sort(epoch.begin(), epoch.end());
    EXPECT_THAT(epoch, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  }
}

TEST(EpochSampler, StepAloneDecidesWhateverWasAskedBefore) {
  EpochSampler straight(100, 7, 3);
  std::vector<std::vector<std::int64_t>> steps;
  for (std::int64_t step = 0; step < 40; ++step) steps.push_back(straight.indices_of(step));
  EpochSampler resumed(100, 7, 3);
  for (std::int64_t step = 39; step >= 0; --step)
    EXPECT_EQ(resumed.indices_of(step), steps[static_cast<std::size_t>(step)]) << step;
  EXPECT_NE(EpochSampler(100, 7, 4).indices_of(0), steps[0]);
}

TEST(EpochSampler, BatchLargerThanTheDataIsTheWholeEpoch) {
  EpochSampler sampler(3, 128, 1);
  EXPECT_EQ(sampler.steps_per_epoch(), 1);
  EXPECT_EQ(sampler.indices_of(5).size(), 3U);
  EXPECT_THAT(message_of<core::ConfigError>([] { EpochSampler(0, 1, 1); }),
              HasSubstr("there are 0 samples"));
}

}  // namespace
}  // namespace corda::data
