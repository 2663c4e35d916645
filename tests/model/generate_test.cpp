// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/generate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "corda/model/forward.h"
#include "support/family_goldens.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

using corda::testing::load_tiny_model;
using corda::testing::TemporaryDirectory;
using Ids = std::vector<std::int32_t>;

at::Tensor last_logits(const Model& model, const Ids& ids) {
  const at::NoGradGuard no_grad;
  const Batch batch = corda::testing::batch_of(model, {ids});
  PackedAttention attention(batch);
  return logits_of(model, forward_hidden(model, batch, attention))[-1];
}

// The same greedy continuation, computed by running the whole sequence again for every token.
Ids continue_without_cache(const Model& model, Ids ids, std::int64_t count) {
  const std::size_t prompt = ids.size();
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(last_logits(model, ids).argmax().item<std::int64_t>()));
  return {ids.begin() + static_cast<std::ptrdiff_t>(prompt), ids.end()};
}

class Generate : public ::testing::Test {
 protected:
  const TemporaryDirectory folder_;
  const Model model_ = load_tiny_model(folder_.path());
};

TEST_F(Generate, CachedBatchEqualsUncachedOneByOne) {
  const std::vector<Ids> prompts = {{3}, {10, 20, 30, 40, 50}, {7, 8}};
  const auto generated =
      generate(model_, prompts, {.max_new_tokens = 9, .stop_ids = {}, .stop_when = {}});
  ASSERT_EQ(generated.size(), 3U);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(generated[i], continue_without_cache(model_, prompts[i], 9)) << i;
}

// Three blocks for sequences of up to two: they take turns, grow into free blocks, are moved, and
// give up their places.
TEST_F(Generate, LittleMemoryForKeysAndValuesChangesNoToken) {
  std::vector<Ids> prompts;
  for (std::int32_t i = 0; i < 6; ++i) {
    prompts.emplace_back(static_cast<std::size_t>(5 + 9 * i));
    std::iota(prompts.back().begin(), prompts.back().end(), i);
  }
  GenerateOptions options{.max_new_tokens = 70, .stop_ids = {}, .stop_when = {}};
  const auto free = generate(model_, prompts, options);
  options.cache_tokens = 3 * KeyValueCache::kBlock;
  std::vector<std::size_t> finished;
  options.finished = [&](std::size_t prompt) { finished.push_back(prompt); };
  EXPECT_EQ(generate(model_, prompts, options), free);
  std::sort(finished.begin(), finished.end());
  EXPECT_EQ(finished, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(free[1], continue_without_cache(model_, prompts[1], 70));
}

TEST_F(Generate, StopsBeforeAStopTokenAndBehindTheTokenThatStopWhenSees) {
  GenerateOptions options{.max_new_tokens = 6, .stop_ids = {}, .stop_when = {}};
  const auto free = generate(model_, {{3}}, options);
  ASSERT_EQ(free[0].size(), 6U);
  options.stop_ids = {free[0][2]};
  const auto first = std::find(free[0].begin(), free[0].end(), free[0][2]);
  EXPECT_EQ(generate(model_, {{3}}, options)[0], Ids(free[0].begin(), first));
  options.stop_ids = {};
  options.stop_when = [](std::size_t prompt, std::span<const std::int32_t> generated) {
    return prompt == 1 && generated.size() == 2;
  };
  const auto ended = generate(model_, {{3}, {3}}, options);
  EXPECT_EQ(ended[0], free[0]);
  EXPECT_EQ(ended[1], Ids(free[0].begin(), free[0].begin() + 2));
}

TEST_F(Generate, WhatIsDrawnForAPromptDependsOnSeedAndNumberAlone) {
  const std::vector<Ids> prompts = {{3, 4}, {5}, {6, 7, 8}};
  GenerateOptions options{.max_new_tokens = 12,
                          .stop_ids = {},
                          .stop_when = {},
                          .sampling = {.temperature = 0.9, .top_p = 0.95, .seed = 5}};
  const auto together = generate(model_, prompts, options);
  options.cache_tokens = 1;  // one after the other
  EXPECT_EQ(generate(model_, prompts, options), together);
  options.sampling.seed = 6;
  EXPECT_NE(generate(model_, prompts, options), together);
}

TEST_F(Generate, ADialogueAnswersAsIfItsPromptsWereNew) {
  Dialogue dialogue(model_);
  Ids prompt = {1, 2, 3};
  const GenerateOptions options{.max_new_tokens = 8, .stop_ids = {}, .stop_when = {}};
  for (const Ids& turn : {Ids{}, Ids{9, 9}, Ids(70, 5), Ids{2}}) {
    prompt.insert(prompt.end(), turn.begin(), turn.end());
    const Ids answer = dialogue.answer(prompt, options);
    EXPECT_EQ(answer, generate(model_, {prompt}, options)[0]);
    prompt.insert(prompt.end(), answer.begin(), answer.end());
  }
  EXPECT_EQ(dialogue.answer({1, 4}, options), generate(model_, {{1, 4}}, options)[0]);
}

// Probabilities 0.1, 0.5, 0.1, 0.3 of tokens 0 to 3.
class Choose : public ::testing::Test {
 protected:
  std::vector<std::int32_t> drawn(const Sampling& sampling,
                                  const std::vector<double>& uniform) const {
    const at::Tensor row = at::tensor({0.1, 0.5, 0.1, 0.3}, at::kFloat).log();
    return choose_tokens(row.expand({static_cast<std::int64_t>(uniform.size()), 4}), sampling,
                         uniform);
  }
};

TEST_F(Choose, TheLikeliestAtTemperatureZeroTheFirstOfEquals) {
  EXPECT_EQ(drawn({}, {0.99}), Ids({1}));
  EXPECT_EQ(choose_tokens(at::tensor({1.0, 2.0, 2.0}, at::kFloat).unsqueeze(0), {}, {}), Ids({1}));
}

// A draw counts from the likeliest token on: 1 up to 0.5, 3 up to 0.8, 0 up to 0.9, then 2.
TEST_F(Choose, ADrawGoesThroughTheProbabilitiesFromTheLikeliestOn) {
  EXPECT_EQ(drawn({.temperature = 1}, {0, 0.49, 0.51, 0.79, 0.81, 0.89, 0.91, 0.9999999999}),
            Ids({1, 1, 3, 3, 0, 0, 2, 2}));
}

// Squares of the probabilities at temperature 1/2: 0.25 of 0.36, 0.09, 0.01, 0.01.
TEST_F(Choose, TemperatureSharpens) {
  EXPECT_EQ(drawn({.temperature = 0.5}, {0.69, 0.70, 0.94, 0.95}), Ids({1, 3, 3, 0}));
}

TEST_F(Choose, TopKAndTopPLeaveTheLikeliest) {
  EXPECT_EQ(drawn({.temperature = 1, .top_k = 2}, {0.62, 0.63, 0.9999999999}), Ids({1, 3, 3}));
  EXPECT_EQ(drawn({.temperature = 1, .top_p = 0.6}, {0.62, 0.63, 0.9999999999}), Ids({1, 3, 3}));
  EXPECT_EQ(drawn({.temperature = 1, .top_p = 0.45}, {0.0, 0.9999999999}), Ids({1, 1}));
  EXPECT_EQ(drawn({.temperature = 1, .top_p = 0.0}, {0.9999999999}), Ids({1}));
  // The share that is kept is that of what top_k left: 0.5 of 0.8 is enough for 0.6.
  EXPECT_EQ(drawn({.temperature = 1, .top_k = 2, .top_p = 0.6}, {0.9999999999}), Ids({1}));
  EXPECT_EQ(drawn({.temperature = 1, .top_k = 9}, {0.9999999999}), Ids({2}));
}

}  // namespace
}  // namespace corda::model
