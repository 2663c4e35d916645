// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Covariances against PEFT's calibration (scripts/golden/covariance.py).
#include "covariance/accumulator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/data/batch.h"
#include "corda/io/tensor.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "core/json.h"
#include "support/random_tensor.h"

namespace corda::covariance {
namespace {

namespace fs = std::filesystem;
using Samples = std::vector<std::vector<data::TokenId>>;

const fs::path kGolden = fs::path(CORDA_SOURCE_DIR) / "tests" / "golden";

model::Model golden_model() {
  const fs::path base = kGolden / "models" / "llama3-gqa";
  return model::load_model(io::Checkpoint(base), model::read_model_config(base), {});
}

Samples golden_samples() {
  return core::read_json(kGolden / "covariance" / "samples.json").at("samples").get<Samples>();
}

// Covariances of every site with the samples in the given groups, one group a forward pass.
std::map<std::string, at::Tensor> covariances(const model::Model& model,
                                              const std::vector<Samples>& groups, bool scale) {
  const at::NoGradGuard no_grad;
  std::map<std::string, CovarianceAccumulator> sums;
  for (const auto& site : model::sites_of(model.config))
    sums.try_emplace(site.name, site.in_features, scale, model.device());
  for (const auto& group : groups) {
    data::PackedBatch packed;
    for (const auto& sample : group) data::append(packed, std::span<const data::TokenId>(sample));
    const model::Batch batch = model::make_batch(packed.ids, packed.positions, packed.cu_seqlens,
                                                 model.config.vocab_size, model.device());
    model::PackedAttention attention(batch);
    model::forward_hidden(
        model, batch, attention,
        [&](const std::string& site, const at::Tensor& x) { sums.at(site).add(x, batch.offsets); });
  }
  std::map<std::string, at::Tensor> result;
  for (auto& [site, sum] : sums) result[site] = sum.finish();
  return result;
}

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

void expect_golden(const std::map<std::string, at::Tensor>& actual, const std::string& file,
                   std::size_t sites) {
  const io::SafetensorsFile golden(kGolden / "covariance" / file);
  ASSERT_EQ(golden.tensors().size(), sites);
  for (const auto& [site, info] : golden.tensors()) {
    EXPECT_LT(relative_difference(actual.at(site), io::view_tensor(golden, site)), 1e-5) << site;
  }
}

TEST(Covariance, OneSampleAtATimeMatchesPeft) {
  const model::Model model = golden_model();
  std::vector<Samples> alone;
  for (const auto& sample : golden_samples()) alone.push_back({sample});
  expect_golden(covariances(model, alone, /*scale=*/true), "reference.safetensors", 8);
}

TEST(Covariance, ABatchOfUnequalLengthsMatchesTheSamplesAlone) {
  const model::Model model = golden_model();
  const Samples samples = golden_samples();
  ASSERT_GE(samples.size(), 3U);
  expect_golden(covariances(model, {samples}, /*scale=*/true), "reference.safetensors", 8);
}

TEST(Covariance, WithoutScalingIsThePlainSum) {
  const model::Model model = golden_model();
  expect_golden(covariances(model, {golden_samples()}, /*scale=*/false), "none.safetensors", 2);
}

TEST(Covariance, IsDividedByTheSamples) {
  CovarianceAccumulator sum(3, true, at::kCPU);
  sum.add(at::ones({5, 3}), {0, 2, 5});
  // Both samples scale to ones: (2 + 3) / 2 samples.
  EXPECT_TRUE(at::equal(sum.finish(), at::full({3, 3}, 2.5F)));
}

TEST(Covariance, DividesByTheSignedMaximum) {
  CovarianceAccumulator sum(2, true, at::kCPU);
  sum.add(at::tensor({-8.0F, 2.0F}).view({1, 2}), {0, 1});
  // The largest signed element is 2, so -8 becomes -4.
  EXPECT_TRUE(at::equal(sum.finish(), at::tensor({16.0F, -4.0F, -4.0F, 1.0F}).view({2, 2})));
}

constexpr std::int64_t kFeatures = 300;  // more than the rows that the mean is taken off at once

// Batches of samples of unequal lengths whose inputs have a mean, up to 3 times their deviation.
struct Sampled {
  at::Tensor x;  // [tokens, features]
  std::vector<std::int32_t> offsets;
};

std::vector<Sampled> sampled() {
  core::Random random(5);
  const at::Tensor mean = corda::testing::random_tensor({kFeatures}, random, 0, 3);
  std::vector<Sampled> batches;
  for (const std::vector<std::int32_t>& offsets :
       {std::vector<std::int32_t>{0, 90, 200}, {0, 400}, {0, 7, 8, 60}}) {
    const at::Tensor noise =
        corda::testing::random_tensor({offsets.back(), kFeatures}, random, 0, std::sqrt(3.0));
    batches.push_back({noise + mean, offsets});
  }
  return batches;
}

// All samples one below the other in fp64, each divided by its largest number where that is asked.
at::Tensor rows(const std::vector<Sampled>& batches, bool scale) {
  std::vector<at::Tensor> samples;
  for (const Sampled& batch : batches) {
    for (std::size_t i = 0; i + 1 < batch.offsets.size(); ++i) {
      const at::Tensor x = batch.x.slice(0, batch.offsets[i], batch.offsets[i + 1]).to(at::kDouble);
      samples.push_back(scale ? x / x.max() : x);
    }
  }
  return at::cat(samples);
}

CovarianceAccumulator centred(const std::vector<Sampled>& batches, bool scale) {
  CovarianceAccumulator sum(kFeatures, scale, at::kCPU, /*center=*/true);
  for (const Sampled& batch : batches) sum.add(batch.x, batch.offsets);
  return sum;
}

// The largest difference in units of sqrt(S_ii S_jj), S being the sum of x x^T.
double largest_difference(const at::Tensor& found, const at::Tensor& expected,
                          const at::Tensor& x) {
  const at::Tensor sizes = x.square().sum(0).sqrt();
  return ((found - expected) / at::outer(sizes, sizes)).abs().max().item<double>();
}

TEST(CentredCovariance, IsThatOfInputsLessTheirMean) {
  for (const bool scale : {false, true}) {
    SCOPED_TRACE(scale);
    const auto batches = sampled();
    const at::Tensor x = rows(batches, scale);
    const at::Tensor less = x - x.mean(0);
    const double samples = scale ? 6 : 1;
    const at::Tensor expected = at::mm(less.t(), less) / samples;
    const at::Tensor found = centred(batches, scale).finish();
    EXPECT_TRUE(at::equal(found, found.t()));
    // fp32 sums of 660 products: the rounding of the whole, as stream.h has it.
    EXPECT_LT(largest_difference(found, expected, x / std::sqrt(samples)), 1e-6);
    // The mean is large enough that it would show.
    EXPECT_GT(largest_difference(at::mm(x.t(), x) / samples, expected, x / std::sqrt(samples)),
              0.5);
  }
}

TEST(CentredCovariance, TheSumsOfSeveralRanksMakeThatOfAllSamples) {
  for (const bool scale : {false, true}) {
    SCOPED_TRACE(scale);
    const auto batches = sampled();
    CovarianceAccumulator first = centred({batches[0], batches[2]}, scale);
    const CovarianceAccumulator second = centred({batches[1]}, scale);
    const auto into = first.sums();
    const auto from = second.sums();
    ASSERT_EQ(into.size(), 2U);
    for (std::size_t i = 0; i < into.size(); ++i) at::Tensor(into[i]).add_(from[i]);
    const at::Tensor found = first.finish(/*samples=*/6, /*tokens=*/660);
    const at::Tensor alone = centred(batches, scale).finish();
    // The same sums in another order.
    const at::Tensor x = rows(batches, scale) / (scale ? std::sqrt(6.0) : 1.0);
    EXPECT_LT(largest_difference(found, alone, x), 2e-6);
  }
}

TEST(CentredCovariance, WhatNeverChangesHasNone) {
  CovarianceAccumulator sum(3, false, at::kCPU, /*center=*/true);
  const at::Tensor x = at::tensor({0.1F, 7.7F, 1000.3F}).repeat({333, 1});
  sum.add(x, {0, 333});
  const at::Tensor found = sum.finish();
  const double size = x.square().sum(0).max().item<double>();
  EXPECT_LT(found.abs().max().item<double>(), 1e-5 * size);
  EXPECT_GE(found.diagonal().min().item<float>(), 0.0F);
}

TEST(Covariance, ThatIsNotCentredSumsNothingElse) {
  CovarianceAccumulator sum(3, false, at::kCPU);
  sum.add(at::ones({5, 3}), {0, 2, 5});
  EXPECT_EQ(sum.sums().size(), 1U);
  EXPECT_TRUE(at::equal(sum.finish(), at::full({3, 3}, 5.0F)));
}

}  // namespace
}  // namespace corda::covariance
