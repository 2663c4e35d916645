// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Every family's gradients on a GPU: the hand-written pass in fp32 and bf16 against autograd in
// fp32; and the memory that the pass takes against what it foretells.
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "operations.h"
#include "support/random_model.h"
#include "train/gradient_pass.h"
#include "train/low_rank_pass.h"
#include "train/side_work.h"
#include "train/step.h"

namespace corda::train {
namespace {

using Json = nlohmann::json;

// A small model of a family with every switch that its training path knows; `more` are keys of its
// own.
model::ModelDescription small(const std::string& family, Json more = Json::object()) {
  Json config = {
      {"model_type", family},     {"vocab_size", 512},      {"hidden_size", 256},
      {"intermediate_size", 704}, {"num_hidden_layers", 4}, {"num_attention_heads", 4},
      {"num_key_value_heads", 2}, {"head_dim", 64},         {"max_position_embeddings", 512}};
  config.update(more);
  return model::parse_model_config(config.dump(), family);
}

struct Family {
  std::string name;
  model::ModelDescription described;
};

std::vector<Family> families() {
  const Json types = {"sliding_attention", "full_attention", "sliding_attention", "full_attention"};
  return {
      {"qwen2", small("qwen2")},
      {"qwen3",
       small("qwen3",
             {{"use_sliding_window", true}, {"sliding_window", 64}, {"max_window_layers", 2}})},
      {"mistral", small("mistral", {{"sliding_window", 100}})},
      {"ministral3", small("ministral3", {{"rope_parameters",
                                           {{"rope_type", "yarn"},
                                            {"factor", 4},
                                            {"original_max_position_embeddings", 128},
                                            {"llama_4_scaling_beta", 0.1}}}})},
      {"gemma", small("gemma")},
      {"gemma2", small("gemma2", {{"sliding_window", 64}, {"attn_logit_softcapping", 2.0}})},
      {"gemma3", small("gemma3_text", {{"sliding_window", 64}, {"layer_types", types}})},
      {"phi3", small("phi3", {{"partial_rotary_factor", 0.75}, {"sliding_window", nullptr}})},
      {"olmo2", small("olmo2")},
      {"olmo3", small("olmo3", {{"sliding_window", 64}})},
      {"granite", small("granite", {{"embedding_multiplier", 12.0},
                                    {"attention_multiplier", 0.015625},
                                    {"residual_multiplier", 0.22},
                                    {"logits_scaling", 8.0},
                                    {"mlp_bias", true}})},
      {"smollm3", small("smollm3")},
      {"glm4", small("glm4")},
  };
}

// The same model with weights and activations of another type, and factors of its own.
model::Model in_type(const model::Model& model, at::ScalarType type) {
  model::Model copy = model;
  copy.compute = type;
  for (auto& [name, tensor] : copy.parameters()) *tensor = tensor->to(type, false, /*copy=*/true);
  for (model::Linear* linear : copy.linear_layers()) {
    model::LowRank& low_rank = *linear->low_rank;
    for (at::Tensor* factor : {&low_rank.a, &low_rank.b})
      *factor = factor->detach().clone().set_requires_grad(true);
  }
  return copy;
}

std::vector<data::PackedBatch> batches_of(const std::vector<std::vector<int>>& lengths) {
  std::vector<data::PackedBatch> batches;
  for (const auto& sequences : lengths) {
    data::PackedBatch& batch = batches.emplace_back();
    for (const int length : sequences) {
      data::Sample sample;
      for (int t = 0; t < length; ++t) {
        sample.ids.push_back(static_cast<data::TokenId>((t * 7919 + length * 31) % 512));
        sample.supervised.push_back(t > 0 && t % 3 != 0);
      }
      data::append(batch, sample);
    }
  }
  return batches;
}

// About a millisecond, in which these models go through several blocks.
constexpr std::int64_t kLateCycles = 1'500'000;

struct Gradients {
  double loss = 0;
  testing::NamedTensors tensors;
};

Gradients gradients_of(const model::Model& model, GradientPass& pass,
                       const std::vector<data::PackedBatch>& batches) {
  Gradients result{.loss = accumulate_gradients(pass, batches, 0).loss(), .tensors = {}};
  for (const model::Linear* linear : model.linear_layers()) {
    result.tensors.emplace_back(linear->name + ".A", linear->low_rank->a.grad().clone());
    result.tensors.emplace_back(linear->name + ".B", linear->low_rank->b.grad().clone());
  }
  return result;
}

class GpuFamilies : public ::testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  }
};

TEST_P(GpuFamilies, GradientsMatchAutograd) {
  const Family family = families().at(GetParam());
  at::manual_seed(7);
  model::Model truth_model = testing::random_model(
      family.described,
      {.device = at::kCUDA, .weights = at::kBFloat16, .compute = at::kBFloat16, .spread = 0.1});
  testing::add_random_adapters(truth_model, {.rank = 8, .scale = 2});
  const auto batches = batches_of({{256, 256}, {1, 130, 300, 77}});
  const auto by_autograd = [&](at::ScalarType type) {
    model::Model model = in_type(truth_model, type);
    const auto pass = make_autograd_pass(model, model::Operations::kAten);
    return gradients_of(model, *pass, batches);
  };
  const auto by_hand = [&](at::ScalarType type, Recompute recompute) {
    model::Model model = in_type(truth_model, type);
    const auto pass = make_low_rank_pass(model, {.recompute = recompute, .tokens = 512});
    return gradients_of(model, *pass, batches);
  };
  const Gradients truth = by_autograd(at::kFloat);
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    const Gradients exact = by_hand(at::kFloat, recompute);
    const SideWork::Late late(kLateCycles);
    const Gradients late_sums = by_hand(at::kFloat, recompute);
    EXPECT_LT(testing::largest(testing::relative_errors(late_sums.tensors, truth.tensors)), 1e-4)
        << family.name << " " << name_of(recompute) << " with side work that comes late";
    EXPECT_NEAR(exact.loss, truth.loss, 1e-5 * truth.loss) << family.name;
    // fp32 products of several hundred terms in another order.
    EXPECT_LT(testing::largest(testing::relative_errors(exact.tensors, truth.tensors)), 1e-4)
        << family.name << " " << name_of(recompute);
  }
  const auto plain = testing::relative_errors(by_autograd(at::kBFloat16).tensors, truth.tensors);
  for (const Recompute recompute : {Recompute::kNone, Recompute::kBlock}) {
    const auto ours =
        testing::relative_errors(by_hand(at::kBFloat16, recompute).tensors, truth.tensors);
    std::printf("%s: bf16 error against fp32, mean: by hand %.5f, autograd %.5f\n",
                family.name.c_str(), testing::mean(ours), testing::mean(plain));
    EXPECT_LE(testing::mean(ours), 1.1 * testing::mean(plain)) << family.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GpuFamilies, ::testing::Range(std::size_t{0}, families().size()),
                         [](const auto& tested) { return families().at(tested.param).name; });

// Models of which the activations are most of the memory.
struct PlanCase {
  const char* name;
  const char* family;
  std::int64_t hidden, intermediate, heads, kv_heads, head_dim;
  Recompute recompute;
};

class GpuMemoryPlan : public ::testing::TestWithParam<PlanCase> {};

TEST_P(GpuMemoryPlan, IsTheAllocatorsPeakWithinFivePercent) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const PlanCase& c = GetParam();
  constexpr std::int64_t kTokens = 8192;
  const model::ModelDescription described = small(c.family, {{"vocab_size", 32000},
                                                             {"hidden_size", c.hidden},
                                                             {"intermediate_size", c.intermediate},
                                                             {"num_hidden_layers", 6},
                                                             {"num_attention_heads", c.heads},
                                                             {"num_key_value_heads", c.kv_heads},
                                                             {"head_dim", c.head_dim},
                                                             {"max_position_embeddings", 4096}});
  model::Model model = testing::random_model(
      described, {.device = at::kCUDA, .weights = at::kBFloat16, .compute = at::kBFloat16});
  testing::add_random_adapters(model, {.rank = 64});
  const LowRankPassOptions options{.recompute = c.recompute,
                                   .tokens = kTokens,
                                   .tuning = Tuning::kOff,
                                   .graphs = Graphs::kNever};
  const std::int64_t planned = low_rank_pass_bytes(model, options);
  namespace allocator = c10::cuda::CUDACachingAllocator;
  allocator::emptyCache();
  const auto allocated = [](const char* /*what*/) {
    return allocator::getDeviceStats(0).allocated_bytes[0];
  };
  const std::int64_t before = allocated("before").current;
  const auto pass = make_low_rank_pass(model, options);
  const auto batches = batches_of({{2048, 2048, 2048, 2048}});
  accumulate_gradients(*pass, batches, 0).loss();
  allocator::resetPeakStats(0);
  accumulate_gradients(*pass, batches, 0).loss();
  const std::int64_t used = allocated("peak").peak - before;
  std::printf("%s: planned %.3f GB, used %.3f GB\n", c.name, static_cast<double>(planned) * 1e-9,
              static_cast<double>(used) * 1e-9);
  EXPECT_NEAR(static_cast<double>(planned), static_cast<double>(used),
              0.05 * static_cast<double>(used));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GpuMemoryPlan,
    ::testing::Values(
        PlanCase{"LlamaWhole", "llama", 2048, 5632, 16, 16, 128, Recompute::kNone},
        PlanCase{"LlamaBlock", "llama", 2048, 5632, 16, 16, 128, Recompute::kBlock},
        PlanCase{"Qwen3Selective", "qwen3", 1024, 3072, 16, 8, 128, Recompute::kSelective},
        PlanCase{"Gemma3Whole", "gemma3_text", 1152, 6912, 4, 1, 256, Recompute::kNone}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace corda::train
