// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/data/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
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

TEST(MicroBatches, AreCountedFromLengthsAsTheyAreMade) {
  const std::vector<std::int64_t> lengths = {3, 6, 4, 12, 3, 0, 9};
  const std::vector<std::int64_t> targets = {1, 2, 0, 0, 0, 0, 5};
  std::vector<Sample> samples;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    samples.push_back(of_length(static_cast<std::size_t>(lengths[i]), static_cast<TokenId>(i)));
    auto& marks = samples.back().supervised;
    std::fill(marks.begin(), marks.end(), std::uint8_t{0});
    std::fill(marks.end() - targets[i], marks.end(), std::uint8_t{1});
  }
  std::vector<const Sample*> pointers;
  for (const auto& sample : samples) pointers.push_back(&sample);
  for (const bool packing : {true, false}) {
    const auto batches = make_micro_batches(pointers, 10, packing);
    const auto with_target = std::count_if(batches.begin(), batches.end(),
                                           [](const auto& batch) { return batch.targets() > 0; });
    EXPECT_EQ(count_micro_batches(lengths, targets, 10, packing), with_target);
    EXPECT_EQ(with_target, 3);
  }
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

TEST(EpochSampler, AMixtureGivesEachPartItsShareAndNoneTwiceBeforeAllCameOnce) {
  const std::vector<MixturePart> parts = {
      {.source = "a", .weight = 3, .samples = {0, 1, 2, 3}},
      {.source = "b", .weight = 1, .samples = {4, 5, 6, 7, 8, 9}}};
  EXPECT_THAT(quotas_of(parts, 10), ElementsAre(8, 2));  // 7.5 and 2.5: the first is rounded up
  EpochSampler sampler(10, 10, 42, parts);
  ASSERT_EQ(sampler.steps_per_epoch(), 1);
  std::map<std::int64_t, int> drawn;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto indices = sampler.indices_of(epoch);
    EXPECT_EQ(std::count_if(indices.begin(), indices.end(), [](auto i) { return i < 4; }), 8);
    for (const auto index : indices) ++drawn[index];
  }
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(drawn[i], i < 4 ? 6 : 1) << i;
  EpochSampler resumed(10, 10, 42, parts);
  EXPECT_EQ(resumed.indices_of(2), sampler.indices_of(2));
  EXPECT_NE(resumed.indices_of(1), sampler.indices_of(2));
}

TEST(Mixture, FilesOfOneSourceShareItsWeight) {
  const std::vector<DataFile> files = {{.path = "1", .weight = 2, .source = "*"},
                                       {.path = "x", .weight = 1},
                                       {.path = "2", .weight = 2, .source = "*"}};
  const auto parts = mixture_of(files, {2, 1, 1});
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_THAT(parts[0].samples, ElementsAre(0, 1, 3));
  EXPECT_THAT(parts[1].samples, ElementsAre(2));
  EXPECT_TRUE(mixture_of({{.path = "1"}, {.path = "2"}}, {1, 1}).empty());
  const auto refusal = [](const std::vector<DataFile>& given) {
    return message_of<core::ConfigError>([&] { mixture_of(given, {1, 0}); });
  };
  EXPECT_EQ(refusal({{.path = "1", .weight = 1}, {.path = "2"}}),
            "'2' has no weight and others do; give every training file one, or none");
  EXPECT_EQ(refusal({{.path = "1", .weight = 1, .source = "s"},
                     {.path = "2", .weight = 2, .source = "s"}}),
            "files of the source 's' have the weights 1 and 2; a source has one");
  EXPECT_EQ(refusal({{.path = "1", .weight = 1}, {.path = "2", .weight = 2}}),
            "'2' has a weight but gave no sample");
}

TEST(Mixture, ReplayIsAShareBesideEveryTrainingSample) {
  const std::vector<DataFile> files = {{.path = "a"}, {.path = "b"}, {.path = "wiki"}};
  const EpochMixture epoch = epoch_mixture(files, {5, 4, 100}, 1, 0.1);
  EXPECT_EQ(epoch.samples, 10);
  EXPECT_EQ(epoch.replayed, 1);
  EpochSampler sampler(epoch.samples, 10, 3, epoch.parts);
  std::map<std::int64_t, int> drawn;
  for (std::int64_t step = 0; step < 40; ++step)
    for (const auto index : sampler.indices_of(step)) ++drawn[index];
  for (std::int64_t i = 0; i < 9; ++i) EXPECT_EQ(drawn[i], 40) << i;
  // A replayed sample comes again once all have been there.
  EXPECT_EQ(drawn.size(), 9U + 40U);
}

TEST(Mixture, ReplayLeavesTheWeightsOfTheOthers) {
  const std::vector<DataFile> files = {
      {.path = "a", .weight = 3}, {.path = "b", .weight = 1}, {.path = "v"}, {.path = "w"}};
  const EpochMixture epoch = epoch_mixture(files, {40, 40, 7, 3}, 2, 0.2);
  EXPECT_EQ(epoch.samples, 100);
  EXPECT_EQ(epoch.replayed, 20);
  EXPECT_THAT(quotas_of(epoch.parts, epoch.samples), ElementsAre(60, 20, 20));
  EXPECT_THAT(epoch.parts.back().samples, ElementsAre(80, 81, 82, 83, 84, 85, 86, 87, 88, 89));
  // Without replay nothing changes.
  EXPECT_TRUE(epoch_mixture({{.path = "a"}}, {40}, 0, 0).parts.empty());
  EXPECT_EQ(epoch_mixture({{.path = "a"}}, {40}, 0, 0).samples, 40);
  EXPECT_EQ(message_of<core::ConfigError>([&] {
              epoch_mixture({{.path = "a"}, {.path = "w"}}, {4, 0}, 1, 0.2);
            }),
            "'data.replay': its files gave no sample");
  // At least one sample is replayed, however small the share and the data are.
  EXPECT_EQ(epoch_mixture({{.path = "a"}, {.path = "w"}}, {4, 9}, 1, 0.01).replayed, 1);
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
