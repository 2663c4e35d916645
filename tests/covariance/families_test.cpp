// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Covariances of several model families against PEFT's calibration (scripts/golden/families.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <map>
#include <span>
#include <string>
#include <vector>

#include "corda/model/forward.h"
#include "corda/model/sites.h"
#include "covariance/accumulator.h"
#include "covariance/stream_helpers.h"
#include "support/family_goldens.h"

namespace corda::covariance {
namespace {

class FamilyCovariances : public ::testing::TestWithParam<std::string> {
 protected:
  // `found` by site. PEFT has one covariance a module; those of one site are equal.
  void expect_golden(const model::ModelDescription& config,
                     const std::map<std::string, at::Tensor>& found) const {
    const core::Json& golden = golden_.expected().at("covariances");
    std::size_t compared = 0;
    for (const model::Site& site : model::sites_of(config)) {
      for (const std::string& module : site.modules) {
        ASSERT_TRUE(golden.contains(module)) << module;
        EXPECT_LT(corda::testing::probe_error(module, found.at(site.name), golden.at(module)), 1e-4)
            << module;
        ++compared;
      }
    }
    EXPECT_EQ(compared, golden.size());
  }

  const corda::testing::FamilyGolden golden_{GetParam()};
};

TEST_P(FamilyCovariances, OfAForwardPassMatchPeft) {
  const at::NoGradGuard no_grad;
  const model::Model model = golden_.load();
  std::map<std::string, CovarianceAccumulator> sums;
  for (const model::Site& site : model::sites_of(model.config))
    sums.try_emplace(site.name, site.in_features, /*scale_by_maximum=*/true, model.device());
  const model::Batch batch = corda::testing::batch_of(model, golden_.ids());
  model::PackedAttention attention(batch);
  model::forward_hidden(model, batch, attention, [&](const std::string& site, const at::Tensor& x) {
    sums.at(site).add(x, batch.offsets);
  });
  std::map<std::string, at::Tensor> found;
  for (auto& [site, sum] : sums) found[site] = sum.finish();
  expect_golden(model.config, found);
}

TEST_P(FamilyCovariances, OfAStreamedModelMatchPeft) {
  Draw draw;
  for (const auto& ids : golden_.ids()) {  // a batch of two sequences, then one of the third
    if (draw.samples % 2 == 0) draw.batches.emplace_back();
    data::append(draw.batches.back(), std::span<const data::TokenId>(ids));
    ++draw.samples;
    draw.tokens += static_cast<std::int64_t>(ids.size());
  }
  const auto streamed = testing::stream(golden_.directory(), {draw}, {});
  expect_golden(model::read_model_config(golden_.directory()), streamed.at(0).covariances);
}

INSTANTIATE_TEST_SUITE_P(Goldens, FamilyCovariances,
                         ::testing::ValuesIn(corda::testing::family_goldens("covariances")),
                         [](const auto& tested) {
                           return corda::testing::test_name(tested.param);
                         });

TEST(FamilyCovarianceGoldens, AllAreTested) {
  EXPECT_EQ(corda::testing::family_goldens("covariances"),
            (std::vector<std::string>{"gemma3-text", "phi3", "qwen3"}));
}

}  // namespace
}  // namespace corda::covariance
