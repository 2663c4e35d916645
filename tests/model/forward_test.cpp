// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/forward.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "corda/core/error.h"
#include "corda/model/sites.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

using corda::testing::load_tiny_model;
using corda::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using Ids = std::vector<std::int32_t>;

Batch batch_of(const Model& model, const std::vector<Ids>& sequences) {
  Ids ids, positions, offsets = {0};
  for (const auto& sequence : sequences) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    for (std::size_t i = 0; i < sequence.size(); ++i)
      positions.push_back(static_cast<std::int32_t>(i));
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return make_batch(ids, positions, offsets, model.config.vocab_size, model.device());
}

at::Tensor logits(const Model& model, const std::vector<Ids>& sequences) {
  const at::NoGradGuard no_grad;
  const Batch batch = batch_of(model, sequences);
  PackedAttention attention(batch);
  return logits_of(model, forward_hidden(model, batch, attention));
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(Forward, PackedSequencesEqualEachAlone) {
  const TemporaryDirectory folder;
  const Model model = load_tiny_model(folder.path());
  const std::vector<Ids> sequences = {{5}, {1, 2, 3, 4, 5, 6, 7}, {9, 9}, {40, 41, 42}};
  std::vector<at::Tensor> alone;
  for (const auto& sequence : sequences) alone.push_back(logits(model, {sequence}));
  // Matrix products of other sizes may sum in another order: fp32 rounding of values around 1.
  EXPECT_LT(max_difference(logits(model, sequences), at::cat(alone)), 1e-5);
}

TEST(Forward, ALaterTokenDoesNotChangeAnEarlierOne) {
  const TemporaryDirectory folder;
  const Model model = load_tiny_model(folder.path());
  const at::Tensor a = logits(model, {{1, 2, 3, 4}});
  const at::Tensor b = logits(model, {{1, 2, 3, 90}});
  EXPECT_LT(max_difference(a.slice(0, 0, 3), b.slice(0, 0, 3)), 1e-6);
  EXPECT_GT(max_difference(a.slice(0, 3), b.slice(0, 3)), 1e-2);
}

TEST(Forward, ObserverSeesEverySiteOnceWithItsWidth) {
  const TemporaryDirectory folder;
  const Model model = load_tiny_model(folder.path());
  const Batch batch = batch_of(model, {{1, 2, 3}});
  PackedAttention attention(batch);
  std::vector<std::string> seen;
  std::vector<std::int64_t> widths;
  forward_hidden(model, batch, attention, [&](const std::string& site, const at::Tensor& x) {
    seen.push_back(site);
    widths.push_back(x.size(1));
  });
  std::vector<std::string> expected;
  std::vector<std::int64_t> expected_widths;
  for (const auto& site : sites_of(model.config)) {
    expected.push_back(site.name);
    expected_widths.push_back(site.in_features);
  }
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(widths, expected_widths);
  EXPECT_EQ(seen.size(), 8U);
}

TEST(Forward, LossSumCountsOnlyTargets) {
  const TemporaryDirectory folder;
  const Model model = load_tiny_model(folder.path());
  const Ids ids = {1, 2, 3, 4}, positions = {0, 1, 2, 3}, offsets = {0, 4};
  const std::vector<std::int64_t> rows = {1, 2}, targets = {3, 4};
  const Batch batch = make_batch(ids, positions, offsets, 96, at::kCPU, rows, targets);
  const at::Tensor log_probabilities = at::log_softmax(logits(model, {ids}), -1);
  const double expected =
      -(log_probabilities[1][3].item<double>() + log_probabilities[2][4].item<double>());
  EXPECT_NEAR(loss_sum(model, batch).item<double>(), expected, 1e-5);
}

// A pruned head, or a block added by expansion: PEFT divides 0 by 0 there, merging takes 0.
TEST(Dora, ARowOfZerosGivesZeroAndGradientsOfZero) {
  for (const Operations operations : {Operations::kAten, Operations::kKernels}) {
    for (const double dropout : {0.0, 0.5}) {
      SCOPED_TRACE(dropout);
      SCOPED_TRACE(operations == Operations::kAten ? "autograd" : "kernels");
      Linear linear{.name = "w", .weight = at::ones({3, 4}), .bias = {}, .low_rank = {}};
      linear.weight[1].zero_();
      linear.low_rank = LowRank{.a = at::ones({2, 4}).set_requires_grad(true),
                                .b = at::zeros({3, 2}).set_requires_grad(true),
                                .magnitude = at::tensor({2.0F, 0.0F, 2.0F}).set_requires_grad(true),
                                .row_squares = at::tensor({4.0F, 0.0F, 4.0F}),
                                .scale = 1,
                                .dropout = dropout};
      const at::Tensor x = at::ones({5, 4}).set_requires_grad(true);
      const at::Tensor y = apply(linear, x, operations);
      EXPECT_TRUE(at::equal(y.detach(), at::tensor({4.0F, 0.0F, 4.0F}).expand({5, 3})));
      y.sum().backward();
      for (const at::Tensor& gradient :
           {x.grad(), linear.low_rank->a.grad(), linear.low_rank->b.grad(),
            linear.low_rank->magnitude.grad()}) {
        EXPECT_TRUE(gradient.isfinite().all().item<bool>());
      }
      EXPECT_EQ(linear.low_rank->magnitude.grad()[1].item<float>(), 0);
      EXPECT_EQ(linear.low_rank->b.grad()[1].abs().max().item<float>(), 0);
      EXPECT_GT(linear.low_rank->b.grad()[0].abs().max().item<float>(), 0);
    }
  }
}

TEST(Batch, RefusesIdsOutsideTheVocabulary) {
  const TemporaryDirectory folder;
  const Model model = load_tiny_model(folder.path());
  try {
    batch_of(model, {{96}});
    FAIL() << "no error";
  } catch (const core::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("token id 96 is outside the model's vocabulary of 96"));
  }
}

}  // namespace
}  // namespace corda::model
