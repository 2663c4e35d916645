// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/forgetting.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace corda::adapter {
namespace {

using corda::testing::error_of;
using corda::testing::random_tensor;
using ::testing::HasSubstr;

constexpr std::int64_t kIn = 12, kOut = 7, kRank = 3;
const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kK = "model.layers.0.self_attn.k_proj";
const std::string kDown = "model.layers.0.mlp.down_proj";

LayerAdapter lora() {
  LayerAdapter layer;
  layer.a = random_tensor({kRank, kIn}, 1);
  layer.b = random_tensor({kOut, kRank}, 2);
  return layer;
}

LayerAdapter corda_layer() {
  LayerAdapter layer = lora();
  layer.a0 = layer.a + 0.01 * random_tensor({kRank, kIn}, 3);
  layer.b0 = layer.b + 0.01 * random_tensor({kOut, kRank}, 4);
  return layer;
}

// Inputs of unequal sizes that point more one way than another.
at::Tensor inputs() { return (random_tensor({40, kIn}, 5) + 0.7) * at::arange(1, kIn + 1) / kIn; }
at::Tensor covariance() { return at::mm(inputs().t(), inputs()) / 40; }

at::Tensor update(const LayerAdapter& layer, double scale) {
  const auto wide = [](const at::Tensor& x) { return x.to(at::kDouble); };
  at::Tensor product = at::mm(wide(layer.b), wide(layer.a));
  if (layer.subtracts_start()) product -= at::mm(wide(layer.b0), wide(layer.a0));
  return scale * product;
}

TEST(Forgetting, IsTheTraceOfTheDefinition) {
  const at::Tensor c = covariance();
  for (const LayerAdapter& layer : {lora(), corda_layer()}) {
    const at::Tensor d = update(layer, -1.5);
    const double change = at::mm(at::mm(d, c.to(at::kDouble)), d.t()).trace().item<double>();
    const Forgetting low_rank = forgetting_of(exported_factors(layer), -1.5, c);
    // The exported factors are differences in fp32.
    EXPECT_NEAR(low_rank.change, change, 1e-5 * change);
    EXPECT_NEAR(low_rank.inputs, c.trace().item<double>(), 1e-5);
    EXPECT_NEAR(low_rank.gauge(), std::sqrt(change / low_rank.inputs), 1e-5 * low_rank.gauge());
    EXPECT_NEAR(forgetting_of(d, c).change, change, 1e-12 * change);
  }
}

TEST(Forgetting, IsThatOfAPassOverTheInputs) {
  const at::Tensor x = inputs().to(at::kDouble);
  const at::Tensor d = update(corda_layer(), 2);
  const double change = at::mm(x, d.t()).square().sum(1).mean().item<double>();
  const double size = x.square().sum(1).mean().item<double>();
  const double gauge = forgetting_of(exported_factors(corda_layer()), 2, covariance()).gauge();
  EXPECT_NEAR(gauge, std::sqrt(change / size), 1e-5 * gauge);
}

TEST(Forgetting, OfAFrozenANeedsTheCovarianceOnce) {
  LayerAdapter layer = lora();
  const InputEnergy energy = input_energy(layer.a, covariance());
  for (const std::uint64_t seed : {11, 12}) {
    layer.b = random_tensor({kOut, kRank}, seed);
    const Forgetting again = forgetting_of(exported_factors(layer), 0.5, covariance());
    EXPECT_EQ(forgetting_of(layer.b, 0.5, energy).change, again.change);
  }
}

TEST(Forgetting, OfAnAdapterAtItsStartIsZero) {
  LayerAdapter start = lora();
  start.b.zero_();
  EXPECT_EQ(forgetting_of(exported_factors(start), 1, covariance()).gauge(), 0);
  LayerAdapter corda = lora();
  corda.a0 = corda.a.clone();
  corda.b0 = corda.b.clone();
  EXPECT_EQ(forgetting_of(exported_factors(corda), 1, covariance()).gauge(), 0);
  EXPECT_EQ(forgetting_of(exported_factors(lora()), 1, at::zeros({kIn, kIn})).gauge(), 0);
}

// Neither the units of a layer's inputs count nor is a layer that stays left out: it is a zero.
TEST(Forgetting, OfAModelIsTheRootMeanSquareOverItsLayers) {
  const Forgetting small{.change = 0.09, .inputs = 1};     // 0.3
  const Forgetting large{.change = 1.6e5, .inputs = 1e6};  // 0.4
  EXPECT_NEAR(gauge_of({small, large}, 2), std::sqrt((0.09 + 0.16) / 2), 1e-12);
  EXPECT_NEAR(gauge_of({small, large}, 4), 0.25, 1e-12);
  EXPECT_EQ(gauge_of({}, 0), 0);
}

class Knowledge : public ::testing::Test {
 protected:
  Knowledge() { write(directory(), /*centered=*/false); }

  static void write(const std::string& directory, bool centered) {
    io::CovarianceWriter writer(directory, io::CovarianceStorage::kFull);
    writer.add("model.layers.0.self_attn.input", {kQ, kK}, 40, covariance());
    writer.finish({.model = "print",
                   .model_name = "base",
                   .tokens = 40,
                   .samples = 1,
                   .activation_scaling = "none",
                   .centered = centered,
                   .settings = {},
                   .sites = {}});
  }
  std::string directory() const { return (folder_.path() / "cov").string(); }

  corda::testing::TemporaryDirectory folder_;
};

// Its trace would leave out what the mean of the inputs moves.
TEST_F(Knowledge, ThatIsCentredIsRefused) {
  const std::string centred = (folder_.path() / "centred").string();
  write(centred, /*centered=*/true);
  for (const std::string fingerprint : {"print", ""}) {
    EXPECT_THAT(error_of<core::ConfigError>([&] { KnowledgeInputs(centred, fingerprint, {kQ}); }),
                HasSubstr("is centred, so it does not know what the mean of the inputs does"));
  }
}

TEST_F(Knowledge, GivesEachLayerItsInputs) {
  KnowledgeInputs inputs(directory(), "print", {kQ});
  EXPECT_EQ(inputs.layers(), 2);
  EXPECT_EQ(inputs.layers_of_kind(),
            (std::map<std::string, std::int64_t>{{"q_proj", 1}, {"k_proj", 1}}));
  EXPECT_EQ(inputs.modules(), (std::vector<std::string>{kQ, kK}));
  EXPECT_LE((inputs.of(kK, kIn) - covariance()).abs().max().item<double>(), 1e-6);
  const at::Tensor once = inputs.of(kK, kIn);
  EXPECT_TRUE(inputs.of(kQ, kIn).is_same(once));
}

TEST_F(Knowledge, OfOtherLayersOrOfAnotherModelIsRefused) {
  const auto refusal = [&](const std::string& fingerprint, const std::vector<std::string>& of) {
    return error_of<core::ConfigError>([&] { KnowledgeInputs(directory(), fingerprint, of); });
  };
  EXPECT_EQ(refusal("", {kQ, kDown}),
            "the covariance '" + directory() + "' has no inputs of '" + kDown +
                "'; corda calibrate collects those of all layers of a model's blocks");
  EXPECT_EQ(refusal("print", {"lm_head", kQ, kDown}),
            "the covariance '" + directory() +
                "' has no inputs of 'lm_head' and 1 more of the changed layers; corda calibrate "
                "collects those of all layers of a model's blocks");
  EXPECT_EQ(refusal("other", {kQ}),
            "the covariance '" + directory() +
                "' was collected on another model: 'base' (print), this one is other");
  KnowledgeInputs inputs(directory(), "", {kQ});
  EXPECT_EQ(error_of<core::ShapeError>([&] { inputs.of(kQ, 48); }),
            "the covariance of '" + kQ + "' is of 12 inputs, and the layer has 48");
}

}  // namespace
}  // namespace corda::adapter
