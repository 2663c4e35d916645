// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Covariances against PEFT's calibration (scripts/golden/covariance.py).
#include "covariance/accumulator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "corda/data/batch.h"
#include "corda/io/tensor.h"
#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "core/json.h"

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

}  // namespace
}  // namespace corda::covariance
