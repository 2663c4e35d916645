// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Gram matrices of gradients against autograd on all of a batch at once.
#include "corda/covariance/gradients.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::covariance {
namespace {

using ::corda::testing::error_of;

data::Sample sample(int number, std::int64_t vocab) {
  data::Sample result;
  for (int t = 0; t < 6 + 3 * number; ++t) {
    result.ids.push_back(static_cast<tokenizer::TokenId>((t * t + 7 * number) % vocab));
    result.supervised.push_back(t > 2 ? 1 : 0);
  }
  return result;
}

class Gradients : public ::testing::Test {
 protected:
  Gradients() { model_ = testing::load_tiny_model(scratch_.path() / "model", {.layers = 2}); }

  GradientBatch batch(const std::vector<int>& numbers, bool apart) const {
    GradientBatch result;
    for (const int number : numbers) {
      if (apart || result.parts.empty()) result.parts.emplace_back();
      data::append(result.parts.back(), sample(number, model_.config.vocab_size));
    }
    for (const auto& part : result.parts) result.targets += part.targets();
    return result;
  }

  // The gradient of the mean loss by the weight of one layer.
  at::Tensor gradient(const std::string& module, const GradientBatch& of) {
    for (model::Linear* linear : model_.linear_layers()) {
      if (linear->name != module) continue;
      const data::PackedBatch& packed = of.parts.front();
      const model::Batch rows = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                  model_.config.vocab_size, at::kCPU,
                                                  packed.target_rows, packed.target_ids);
      linear->weight.set_requires_grad(true);
      (model::loss_sum(model_, rows) / static_cast<double>(of.targets)).backward();
      const at::Tensor found = linear->weight.grad().clone();
      linear->weight.mutable_grad() = at::Tensor();
      linear->weight.set_requires_grad(false);
      return found;
    }
    throw core::InternalError(module);
  }

  testing::TemporaryDirectory scratch_;
  model::Model model_;
  core::Reporter silent_;
};

TEST_F(Gradients, AreSummedOverBatchesAndOverTheLayersOfAnInput) {
  const std::vector<std::vector<int>> batches = {{0, 3, 1}, {2, 4}};
  std::vector<GradientBatch> in_parts;
  for (const auto& numbers : batches) in_parts.push_back(batch(numbers, /*apart=*/true));
  const auto grams = gradient_grams(model_, in_parts, silent_);
  const auto sites = model::sites_of(model_.config);
  ASSERT_EQ(grams.size(), sites.size());
  for (const model::Site& site : sites) {
    SCOPED_TRACE(site.name);
    at::Tensor expected = at::zeros({site.in_features, site.in_features}, at::kDouble);
    for (const auto& numbers : batches) {
      for (const std::string& module : site.modules) {
        const at::Tensor g = gradient(module, batch(numbers, /*apart=*/false)).to(at::kDouble);
        expected += at::mm(g.t(), g);
      }
    }
    const at::Tensor found = grams.at(site.name).to(at::kDouble);
    EXPECT_GT(expected.norm().item<double>(), 0);
    EXPECT_LT((found - expected).norm().item<double>(), 1e-5 * expected.norm().item<double>());
  }
}

TEST_F(Gradients, LeaveTheModelAsItWas) {
  gradient_grams(model_, {batch({0, 1}, false)}, silent_);
  for (const model::Linear* linear : std::as_const(model_).linear_layers()) {
    EXPECT_FALSE(linear->weight.requires_grad());
    EXPECT_FALSE(linear->weight.grad().defined());
  }
}

TEST_F(Gradients, ThatAreNotFiniteNameTheirInput) {
  model_.blocks[1].sites[3].front().weight.fill_(std::numeric_limits<float>::infinity());
  EXPECT_THAT(error_of<core::NumericalError>([&] {
                require_finite(gradient_grams(model_, {batch({0, 1}, false)}, silent_));
              }),
              ::testing::HasSubstr(": the gradients are not finite"));
}

TEST(GradientBatches, TakeSamplesOnceInAnOrderOfTheSeed) {
  data::SampleStore store;
  {
    data::SampleWriter writer;
    for (int i = 0; i < 10; ++i) writer.add(sample(i, 50));
    store = writer.finish("");
  }
  const auto lengths = [&](std::uint64_t seed, std::int64_t count) {
    std::vector<std::vector<std::int64_t>> result;
    for (const auto& batch : gradient_batches(store, count, 4, 30, seed)) {
      std::int64_t targets = 0;
      auto& of_batch = result.emplace_back();
      for (const auto& part : batch.parts) {
        EXPECT_TRUE(part.tokens() <= 30 || part.sequences() == 1);
        targets += part.targets();
        for (std::size_t i = 1; i < part.cu_seqlens.size(); ++i)
          of_batch.push_back(part.cu_seqlens[i] - part.cu_seqlens[i - 1]);
      }
      EXPECT_EQ(batch.targets, targets);
    }
    return result;
  };
  const auto all = lengths(1, 100);
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].size(), 4U);
  EXPECT_EQ(all[2].size(), 2U);
  std::set<std::int64_t> seen;
  for (const auto& batch : all) seen.insert(batch.begin(), batch.end());
  EXPECT_EQ(seen.size(), 10U);  // every sample has a length of its own
  EXPECT_EQ(lengths(1, 100), all);
  EXPECT_NE(lengths(2, 100), all);
  EXPECT_EQ(lengths(1, 6).size(), 2U);
}

}  // namespace
}  // namespace corda::covariance
