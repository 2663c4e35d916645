// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Losses, gradients and final adapters against PEFT and torch's AdamW (scripts/golden/train.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "corda/adapter/adapter.h"
#include "corda/io/tensor.h"
#include "corda/model/adapt.h"
#include "corda/train/optimizer.h"
#include "core/json.h"
#include "support/golden_batches.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/step.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using testing::golden_batches;
using testing::micro_batches;
using Parameters = std::vector<std::pair<std::string, at::Tensor>>;

const fs::path kGolden = fs::path(CORDA_SOURCE_DIR) / "tests" / "golden";
constexpr double kLearningRate = 1e-3;
constexpr AdamWSettings kAdamW{.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};

struct Trained {
  model::Model model;
  Parameters parameters;
};

enum class Pass { kAutograd, kKernels, kKeepAll, kRecomputeSome, kRecomputeBlocks };

std::unique_ptr<GradientPass> make_pass(Trained& trained, Pass pass = Pass::kAutograd) {
  switch (pass) {
    case Pass::kKeepAll:
      return make_low_rank_pass(trained.model, {Recompute::kNone});
    case Pass::kRecomputeSome:
      return make_low_rank_pass(trained.model, {Recompute::kSelective});
    case Pass::kRecomputeBlocks:
      return make_low_rank_pass(trained.model, {Recompute::kBlock});
    case Pass::kKernels:
      return make_autograd_pass(trained.model, model::Operations::kKernels);
    case Pass::kAutograd:
      break;
  }
  return make_autograd_pass(trained.model);
}

StepGradients gradients_of(Trained& trained, const std::vector<data::PackedBatch>& batches,
                           Pass pass = Pass::kAutograd, std::uint64_t seed = 0) {
  return accumulate_gradients(*make_pass(trained, pass), batches, seed);
}

Trained load_with_adapter(const std::string& method) {
  const fs::path base = kGolden / "models" / "llama3-gqa";
  Trained result{
      .model = model::load_model(io::Checkpoint(base), model::read_model_config(base), {}),
      .parameters = {}};
  model::attach_trainable(result.model,
                          adapter::read_adapter(kGolden / "train" / ("adapter-" + method)));
  for (model::Linear* linear : result.model.linear_layers()) {
    result.parameters.emplace_back(linear->name + ".lora_A", linear->low_rank->a);
    result.parameters.emplace_back(linear->name + ".lora_B", linear->low_rank->b);
    if (linear->low_rank->magnitude.defined())
      result.parameters.emplace_back(linear->name + ".magnitude", linear->low_rank->magnitude);
  }
  return result;
}

Trained load_full(const std::string& name) {
  const fs::path base = kGolden / "models" / name;
  Trained result{
      .model = model::load_model(io::Checkpoint(base), model::read_model_config(base), {}),
      .parameters = {}};
  for (auto& [parameter, tensor] : result.model.parameters()) {
    tensor->set_requires_grad(true);
    result.parameters.emplace_back(parameter, *tensor);
  }
  return result;
}

void expect_close(const Parameters& actual, const io::SafetensorsFile& golden, bool gradients,
                  double tolerance) {
  ASSERT_EQ(actual.size(), golden.tensors().size());
  for (const auto& [name, tensor] : actual) {
    const at::Tensor expected = io::view_tensor(golden, name);
    const at::Tensor value = gradients ? tensor.grad() : tensor.detach();
    ASSERT_EQ(value.sizes(), expected.sizes()) << name;
    const double scale = gradients ? expected.abs().max().item<double>() : 1.0;
    EXPECT_LT((value - expected).abs().max().item<double>(), tolerance * scale) << name;
  }
}

void expect_losses(Trained& trained, const std::string& file, const std::string& suffix,
                   double clip, Pass kind = Pass::kAutograd, double b_ratio = 1) {
  const core::Json golden = core::read_json(kGolden / "train" / file);
  const auto losses = golden.at("losses" + suffix).get<std::vector<double>>();
  const auto norms = golden.at("grad_norms" + suffix).get<std::vector<double>>();
  const auto batches = golden_batches();
  AdamW optimizer(trained.parameters, kAdamW, lora_plus_factors(trained.parameters, b_ratio));
  const auto pass = make_pass(trained, kind);
  for (std::size_t i = 0; i < losses.size(); ++i) {
    const StepGradients result =
        accumulate_gradients(*pass, micro_batches(batches[i], 8192, true), 0);
    const double norm = optimizer.step(kLearningRate, clip).item<double>();
    optimizer.clear_gradients();
    // fp32 against fp64 differs by a few 1e-7 in these runs (the manifest records it).
    EXPECT_NEAR(result.loss(), losses[i], 1e-5 * losses[i]) << "step " << i;
    EXPECT_NEAR(norm, norms[i], 1e-4 * norms[i]) << "step " << i;
  }
}

struct GoldenCase {
  const char* name;
  const char* method;
  Pass pass;
};

class GoldenAdapter : public ::testing::TestWithParam<GoldenCase> {
 protected:
  std::string method() const { return GetParam().method; }
};

TEST_P(GoldenAdapter, TwentyStepsMatchPeft) {
  Trained trained = load_with_adapter(method());
  expect_losses(trained, method() + ".json", "", 1.0, GetParam().pass);
  const io::SafetensorsFile final_adapter(kGolden / "train" / (method() + "-final.safetensors"));
  // Adam divides by the gradient's size, so fp32 rounding moves a weight by up to 1e-5 here.
  expect_close(trained.parameters, final_adapter, /*gradients=*/false, 2e-5);
}

TEST_P(GoldenAdapter, TwentyStepsWithoutClippingMatchPeft) {
  Trained trained = load_with_adapter(method());
  expect_losses(trained, method() + ".json", "_without_clipping", 0.0, GetParam().pass);
}

// Its B, and a DoRA's magnitude, learn at eight times the rate of A.
TEST_P(GoldenAdapter, TwentyStepsOfLoraPlusMatchPeft) {
  Trained trained = load_with_adapter(method());
  expect_losses(trained, method() + ".json", "_lora_plus", 1.0, GetParam().pass, 8);
}

TEST_P(GoldenAdapter, EveryGradientMatchesAutogradInTransformers) {
  Trained trained = load_with_adapter(method());
  gradients_of(trained, micro_batches(golden_batches()[0], 8192, true), GetParam().pass);
  const io::SafetensorsFile golden(kGolden / "train" / (method() + "-gradients.safetensors"));
  expect_close(trained.parameters, golden, /*gradients=*/true, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    Methods, GoldenAdapter,
    ::testing::Values(GoldenCase{"Lora", "lora", Pass::kAutograd},
                      GoldenCase{"LoraFused", "lora", Pass::kKeepAll},
                      GoldenCase{"LoraFusedSelective", "lora", Pass::kRecomputeSome},
                      GoldenCase{"LoraFusedBlock", "lora", Pass::kRecomputeBlocks},
                      GoldenCase{"LoraKernels", "lora", Pass::kKernels},
                      GoldenCase{"Dora", "dora", Pass::kAutograd},
                      GoldenCase{"DoraKernels", "dora", Pass::kKernels}),
    [](const auto& tested) { return std::string(tested.param.name); });

class GoldenFull : public ::testing::TestWithParam<Pass> {};

TEST_P(GoldenFull, FiveStepsMatchTransformers) {
  for (const char* name : {"llama3-gqa", "llama-tied"}) {
    Trained trained = load_full(name);
    expect_losses(trained, std::string("full-") + name + ".json", "", 1.0, GetParam());
  }
}

TEST_P(GoldenFull, EveryGradientOfATiedModelMatches) {
  Trained trained = load_full("llama-tied");
  gradients_of(trained, micro_batches(golden_batches()[0], 8192, true), GetParam());
  expect_close(trained.parameters,
               io::SafetensorsFile(kGolden / "train" / "full-llama-tied-gradients.safetensors"),
               true, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Passes, GoldenFull, ::testing::Values(Pass::kAutograd, Pass::kKernels),
                         [](const auto& tested) {
                           return std::string(tested.param == Pass::kKernels ? "Kernels"
                                                                             : "Autograd");
                         });

// At the start B A is what PEFT saved; with DoRA's magnitude set to the norm of W + s B A the
// factor is one, so dropout may only touch the low-rank path, as in PEFT: two runs differ by B A
// alone.
TEST(Dropout, DoraLeavesTheFrozenPathAlone) {
  const auto batch = micro_batches(golden_batches()[0], 8192, true);
  const auto first_loss = [&](const std::string& method, double dropout) {
    Trained trained = load_with_adapter(method);
    const at::NoGradGuard no_grad;
    for (model::Linear* linear : trained.model.linear_layers()) {
      linear->low_rank->b.zero_();
      linear->low_rank->dropout = dropout;
      if (linear->low_rank->magnitude.defined())
        linear->low_rank->magnitude.copy_(linear->weight.norm(2, {1}));
    }
    const at::AutoGradMode with_gradients(true);
    return gradients_of(trained, batch, Pass::kAutograd, 7).loss();
  };
  const double base = first_loss("lora", 0.0);
  EXPECT_NEAR(first_loss("lora", 0.5), base, 1e-6 * base);
  EXPECT_NEAR(first_loss("dora", 0.5), base, 1e-5 * base);
}

TEST(Dropout, SameSeedSameLossOtherSeedOtherLoss) {
  const auto batch = micro_batches(golden_batches()[0], 8192, true);
  const auto loss_with_seed = [&](std::uint64_t seed) {
    Trained trained = load_with_adapter("lora");
    for (model::Linear* linear : trained.model.linear_layers()) linear->low_rank->dropout = 0.5;
    return gradients_of(trained, batch, Pass::kAutograd, seed).loss();
  };
  EXPECT_EQ(loss_with_seed(3), loss_with_seed(3));
  EXPECT_NE(loss_with_seed(3), loss_with_seed(4));
}

class Accumulation : public GoldenAdapter {};

// The same 32 samples as one micro-batch, as many, and one sample at a time.
TEST_P(Accumulation, OneTimesThirtyTwoEqualsThirtyTwoTimesOne) {
  std::vector<data::Sample> samples;
  for (const auto& batch : golden_batches())
    samples.insert(samples.end(), batch.begin(), batch.end());
  samples.resize(32);
  Trained whole = load_with_adapter(method());
  const auto one = micro_batches(samples, 1 << 20, true);
  ASSERT_EQ(one.size(), 1U);
  const StepGradients expected = gradients_of(whole, one);
  struct Cut {
    std::int64_t tokens;
    bool packing;
    std::size_t at_least;
  };
  for (const auto& [tokens, packing, at_least] :
       {Cut{1, true, 32}, Cut{8192, false, 32}, Cut{100, true, 4}}) {
    Trained cut = load_with_adapter(method());
    const auto parts = micro_batches(samples, tokens, packing);
    ASSERT_GE(parts.size(), at_least);
    const StepGradients result = gradients_of(cut, parts, GetParam().pass);
    EXPECT_EQ(result.supervised_tokens, expected.supervised_tokens);
    EXPECT_NEAR(result.loss(), expected.loss(), 1e-6 * expected.loss());
    for (std::size_t i = 0; i < cut.parameters.size(); ++i) {
      const at::Tensor reference = whole.parameters[i].second.grad();
      // Sums in another order: fp32 rounding relative to the largest gradient of the tensor.
      EXPECT_LT((cut.parameters[i].second.grad() - reference).abs().max().item<double>(),
                2e-5 * reference.abs().max().item<double>())
          << cut.parameters[i].first;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Accumulation,
                         ::testing::Values(GoldenCase{"Lora", "lora", Pass::kAutograd},
                                           GoldenCase{"LoraFused", "lora", Pass::kKeepAll},
                                           GoldenCase{"LoraFusedBlock", "lora",
                                                      Pass::kRecomputeBlocks},
                                           GoldenCase{"LoraKernels", "lora", Pass::kKernels},
                                           GoldenCase{"Dora", "dora", Pass::kAutograd},
                                           GoldenCase{"DoraKernels", "dora", Pass::kKernels}),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace corda::train
