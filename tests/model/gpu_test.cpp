// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Attention over keys that lie elsewhere, and what is built of it, on the GPU against the CPU.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

#include "corda/model/forward.h"
#include "corda/model/generate.h"
#include "corda/model/prefix_tree.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

using Ids = std::vector<std::int32_t>;

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kCPU, at::kFloat);
  const at::Tensor y = b.to(at::kCPU, at::kFloat);
  return ((x - y).norm() / y.norm()).item<double>();
}

class GpuSpans : public ::testing::TestWithParam<AttentionRule> {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  }
};

// A step's single queries beside the many of a prompt; keys in runs that are not in order.
TEST_P(GpuSpans, AttentionIsTheCpus) {
  const at::Tensor q = corda::testing::random_tensor({1 + 7 + 1 + 40, 8, 64}, 1);
  const at::Tensor k = corda::testing::random_tensor({256, 2, 64}, 2);
  const at::Tensor v = corda::testing::random_tensor({256, 2, 64}, 3);
  KeySpans host{
      .queries = {0, 1, 8, 9, 49}, .first_keys = {128, 0, 192, 64}, .lengths = {33, 20, 1, 40}};
  KeySpans device = host;
  complete(host, at::kCPU);
  complete(device, at::Device(at::kCUDA, 0));
  const auto on_gpu = [&](at::ScalarType type) {
    const auto move = [&](const at::Tensor& x) { return x.to(at::Device(at::kCUDA, 0), type); };
    return attend_spans(device, GetParam(), move(q), move(k), move(v));
  };
  const at::Tensor expected = attend_spans(host, GetParam(), q, k, v);
  EXPECT_LT(relative_difference(on_gpu(at::kFloat), expected), 1e-5);
  // Inputs, probabilities and results are rounded to 2^-9.
  EXPECT_LT(relative_difference(on_gpu(at::kBFloat16), expected), 0.02);
}

INSTANTIATE_TEST_SUITE_P(Rules, GpuSpans,
                         ::testing::Values(AttentionRule{.scale = 0.125},
                                           AttentionRule{.scale = 0.125, .window = 16},
                                           AttentionRule{.scale = 0.125, .soft_cap = 2}));

class GpuGeneration : public ::testing::Test {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
    corda::testing::write_tiny_model(folder_.path());
    const ModelDescription described = read_model_config(folder_.path());
    const io::Checkpoint checkpoint(folder_.path());
    cpu_ = load_model(checkpoint, described, {});
    gpu_ = load_model(checkpoint, described, {.device = at::Device(at::kCUDA, 0)});
  }
  corda::testing::TemporaryDirectory folder_;
  Model cpu_;
  Model gpu_;
};

// The tiny model's likeliest tokens lead by far more than fp32 rounds.
TEST_F(GpuGeneration, FewRowsForManyPromptsGiveTheCpusTokens) {
  std::vector<Ids> prompts;
  for (std::int32_t i = 0; i < 7; ++i) {
    prompts.emplace_back(static_cast<std::size_t>(3 + 11 * i));
    std::iota(prompts.back().begin(), prompts.back().end(), i);
  }
  GenerateOptions options{.max_new_tokens = 40};
  const auto expected = generate(cpu_, prompts, options);
  EXPECT_EQ(generate(gpu_, prompts, options), expected);
  options.cache_tokens = 3 * KeyValueCache::kBlock;
  EXPECT_EQ(generate(gpu_, prompts, options), expected);
}

TEST_F(GpuGeneration, SharedBeginningsGiveTheCpusHiddenStates) {
  const at::NoGradGuard no_grad;
  Ids stem(40);
  std::iota(stem.begin(), stem.end(), 1);
  std::vector<Ids> sequences;
  for (std::int32_t i = 0; i < 4; ++i) {
    sequences.push_back(stem);
    sequences.back().insert(sequences.back().end(), {i, 5, 6});
  }
  const std::vector<std::span<const std::int32_t>> spans(sequences.begin(), sequences.end());
  const PrefixTree tree(spans, 16);
  EXPECT_EQ(tree.tokens(), 40 + 4 * 3);
  const auto hidden = [&](const Model& model) {
    PrefixTree::SharedAttention attention(tree, model.device());
    return forward_hidden(model, tree.batch(model.config.vocab_size, model.device()), attention);
  };
  EXPECT_LT(relative_difference(hidden(gpu_), hidden(cpu_)), 1e-5);
}

}  // namespace
}  // namespace corda::model
