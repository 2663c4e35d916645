// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The gradients of the hand-written pass against autograd's, for models and adapters that the
// goldens do not have; and its estimate of memory.
#include "train/low_rank_pass.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "corda/adapter/initialise.h"
#include "corda/model/adapt.h"
#include "support/golden_batches.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "tiny_lora.h"
#include "train/gradient_pass.h"
#include "train/sharded_base.h"
#include "train/step.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;

// Which layers have an adapter.
using Target = std::function<bool(const std::string& name)>;

struct Case {
  const char* name;
  bool biased;  // the golden model with biases everywhere, else a plain one of four blocks
  Target target;
  bool train_a = true;
  // shared by the layers of attention's input, and by those of the feed-forward's
  bool shared_a = false;
  bool mixed_ranks = false;  // k and up have another, padded to 16, and another scale
  bool train_b = true;
};

bool ends_with_any(const std::string& name, std::initializer_list<const char*> suffixes) {
  return std::any_of(suffixes.begin(), suffixes.end(),
                     [&](const char* suffix) { return name.ends_with(suffix); });
}
bool in_upper_half(const std::string& name) {
  return name.find("layers.2.") != std::string::npos || name.find("layers.3.") != std::string::npos;
}

// Alpha 10, rank 5, which is padded to 8.
model::Model adapted(const fs::path& directory, const Case& c, ShardedBase* parts = nullptr) {
  model::Model model =
      model::load_model(io::Checkpoint(directory), model::read_model_config(directory), {});
  if (parts != nullptr) {
    for (std::size_t i = 0; i < model.blocks.size(); ++i)
      parts->take(static_cast<std::int64_t>(i), model.blocks[i]);
    parts->open();
  }
  adapter::Adapter adapter;
  adapter.rank = 5;
  adapter.alpha = 10;
  adapter.train_a = c.train_a;
  adapter.train_b = c.train_b;
  at::manual_seed(3);
  for (const model::Linear* linear : model.linear_layers()) {
    const std::string& name = linear->name;
    if (!c.target(name)) continue;
    const bool other = c.mixed_ranks && ends_with_any(name, {"k_proj", "up_proj"});
    // The name is part of the seed.
    auto layer =
        adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), other ? 9 : 5, 1,
                                 c.shared_a ? name.substr(0, name.rfind('.')) : name);
    layer.b = at::randn_like(layer.b) * 0.05;
    if (other) layer.alpha = 27;
    adapter.layers[name] = std::move(layer);
  }
  model::attach_trainable(model, adapter);
  return model;
}

// Micro-batches that grow and shrink.
std::vector<data::PackedBatch> growing_batches() {
  const auto golden = testing::golden_batches();
  std::vector<data::PackedBatch> result;
  for (const std::size_t samples : {1, 4, 2}) {
    const std::vector<data::Sample> some(golden[0].begin(),
                                         golden[0].begin() + static_cast<std::ptrdiff_t>(samples));
    for (auto& batch : testing::micro_batches(some, 1 << 20, true)) result.push_back(batch);
  }
  return result;
}

class Fused : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (GetParam().biased) {
      directory_ = fs::path(CORDA_SOURCE_DIR) / "tests/golden/models/llama-bias";
    } else {
      directory_ = temporary_.path() / "model";
      testing::write_tiny_model(directory_, {.layers = 4});
    }
  }

  model::Model load() const { return adapted(directory_, GetParam()); }

  static std::vector<data::PackedBatch> batches() { return growing_batches(); }

  static void expect_same_gradients(const model::Model& actual, const model::Model& expected) {
    const auto ours = actual.linear_layers();
    const auto theirs = expected.linear_layers();
    int compared = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      if (!theirs[i]->low_rank) continue;
      for (at::Tensor model::LowRank::*factor : {&model::LowRank::a, &model::LowRank::b}) {
        const at::Tensor& reference = (*theirs[i]->low_rank).*factor;
        if (!reference.requires_grad()) continue;
        const at::Tensor error = ((*ours[i]->low_rank).*factor).grad() - reference.grad();
        // fp32 sums in another order, relative to the largest of the tensor.
        EXPECT_LT(error.abs().max().item<double>(),
                  2e-5 * reference.grad().abs().max().item<double>())
            << ours[i]->name;
        ++compared;
      }
    }
    EXPECT_GT(compared, 0);
  }

  testing::TemporaryDirectory temporary_;
  fs::path directory_;
};

TEST_P(Fused, EveryGradientMatchesAutograd) {
  model::Model expected = load();
  const StepGradients reference = accumulate_gradients(*make_autograd_pass(expected), batches(), 0);
  for (const Recompute recompute : {Recompute::kNone, Recompute::kSelective, Recompute::kBlock}) {
    for (const std::int64_t tokens : {0, 10'000}) {
      model::Model actual = load();
      ASSERT_TRUE(supports_low_rank_pass(actual));
      const auto pass = make_low_rank_pass(actual, {.recompute = recompute, .tokens = tokens});
      const StepGradients result = accumulate_gradients(*pass, batches(), 0);
      EXPECT_NEAR(result.loss(), reference.loss(), 1e-6 * reference.loss());
      expect_same_gradients(actual, expected);
    }
  }
}

TEST_P(Fused, WeighedGradientsMatchAutograd) {
  model::Model expected = load();
  expected.entropy_power = 1.5;
  const StepGradients reference = accumulate_gradients(*make_autograd_pass(expected), batches(), 0);
  model::Model actual = load();
  actual.entropy_power = 1.5;
  const auto pass = make_low_rank_pass(actual, {});
  EXPECT_NEAR(accumulate_gradients(*pass, batches(), 0).loss(), reference.loss(),
              1e-6 * reference.loss());
  expect_same_gradients(actual, expected);
}

bool all(const std::string& /*name*/) { return true; }
bool query_and_value(const std::string& name) { return ends_with_any(name, {"q_proj", "v_proj"}); }
bool key_and_value(const std::string& name) { return ends_with_any(name, {"k_proj", "v_proj"}); }

INSTANTIATE_TEST_SUITE_P(
    Adapters, Fused,
    ::testing::Values(
        Case{"Biases", true, all}, Case{"BiasesFrozenA", true, all, false},
        Case{"FrozenA", false, all, false}, Case{"SharedA", false, all, false, true},
        Case{"SharedABiases", true, all, false, true},
        Case{"SharedAWithAGap", false, query_and_value, false, true},
        Case{"SharedAOfTheLastTwo", false, key_and_value, false, true},
        Case{"EqualATrained", false, all, true, true},
        Case{"FrozenB", false, all, true, false, false, false},
        Case{"FrozenBBiases", true, all, true, false, false, false},
        Case{"FrozenBMixedRanks", false, all, true, false, true, false},
        Case{"FrozenBDownOnly", false,
             [](const std::string& n) { return ends_with_any(n, {"down_proj"}); }, true, false,
             false, false},
        Case{"MixedRanks", false, all, true, false, true},
        Case{"MixedRanksSharedA", true, all, false, true, true},
        Case{"QueryAndValue", false, query_and_value},
        Case{"OutputAndGate", false,
             [](const std::string& n) {
               return ends_with_any(n, {"o_proj", "gate_proj"});
             }},
        Case{"DownOnly", false,
             [](const std::string& n) { return ends_with_any(n, {"down_proj"}); }},
        Case{"UpperBlocks", false, in_upper_half},
        // The lowest adapted block needs no gradient of its attention.
        Case{"UpperBlocksUpOnly", true,
             [](const std::string& n) { return n.ends_with("layers.1.mlp.up_proj"); }},
        Case{"UpperBlocksFeedForward", false,
             [](const std::string& n) {
               return in_upper_half(n) && ends_with_any(n, {"gate_proj", "up_proj", "down_proj"});
             }},
        Case{"LastDownOnly", false,
             [](const std::string& n) { return n.ends_with("layers.3.mlp.down_proj"); }}),
    [](const auto& tested) { return std::string(tested.param.name); });

// Four bits of each operand, whose errors average out over wider sums than those of this model;
// what is computed again is what was computed. A base in parts is no other.
TEST(FusedInFloat8, LossesAndGradientsAreNear) {
  const testing::TemporaryDirectory temporary;
  testing::write_tiny_model(temporary.path() / "model", {.hidden = 128, .intermediate = 256});
  const auto load = [&](ShardedBase* parts = nullptr) {
    return adapted(temporary.path() / "model", Case{"Wide", false, all}, parts);
  };
  model::Model exact = load();
  const StepGradients reference =
      accumulate_gradients(*make_low_rank_pass(exact, {}), growing_batches(), 0);
  std::optional<double> loss;
  for (const auto& [recompute, in_parts] : {std::pair{Recompute::kNone, false},
                                            {Recompute::kBlock, false},
                                            {Recompute::kNone, true},
                                            {Recompute::kBlock, true}}) {
    const auto parts = std::make_shared<ShardedBase>(dist::alone());
    model::Model model = in_parts ? load(parts.get()) : load();
    const auto pass = make_low_rank_pass(model, {.recompute = recompute, .float8 = true});
    const StepGradients result = accumulate_gradients(*pass, growing_batches(), 0);
    EXPECT_NEAR(result.loss(), reference.loss(), 0.01 * reference.loss());
    EXPECT_NE(result.loss(), reference.loss());
    EXPECT_EQ(loss.value_or(result.loss()), result.loss());
    loss = result.loss();
    double product = 0, ours = 0, theirs = 0;
    const auto layers = model.linear_layers();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      ASSERT_NE(layers[i]->packed, nullptr) << layers[i]->name;
      EXPECT_EQ(layers[i]->packed->store != nullptr, in_parts);
      const at::Tensor& gradient = layers[i]->low_rank->b.grad();
      const at::Tensor& expected = exact.linear_layers()[i]->low_rank->b.grad();
      product += (gradient * expected).sum().item<double>();
      ours += gradient.square().sum().item<double>();
      theirs += expected.square().sum().item<double>();
    }
    EXPECT_GT(product, 0.9 * std::sqrt(ours * theirs));
  }
}

// The bytes that the pass is said to take.
class LowRankPassBytes : public ::testing::Test {
 protected:
  testing::TemporaryDirectory directory_;
  model::Model model_ = testing::load_tiny_lora(directory_.path() / "model");
};

TEST_F(LowRankPassBytes, PackedFactorsAndTheirGradientsAreCounted) {
  const std::int64_t fixed = low_rank_pass_bytes(model_, {});
  for (model::Linear* linear : model_.linear_layers()) linear->low_rank.reset();
  // Both blocks have rank 4 and so 8 columns a layer: windows of as many columns and rows round
  // [64, 32] (q, k, v), [32, 32], [96, 32] and [32, 48]; fp32. The gradients are 8 x in and 4 x out
  // of each layer.
  const std::int64_t packed =
      24 * (64 + 32 + 24) + 8 * (32 + 32 + 8) + 16 * (96 + 32 + 16) + 8 * (32 + 48 + 8);
  const std::int64_t gradients = 8 * (6 * 32 + 48) + 4 * (2 * 32 + 2 * 16 + 2 * 48 + 32);
  EXPECT_EQ(fixed - low_rank_pass_bytes(model_, {}), 2 * 4 * (packed + gradients));
}

TEST_F(LowRankPassBytes, EachStepOfTheLadderTakesLessMemory) {
  const auto bytes = [&](Recompute recompute, bool offload, std::int64_t tokens) {
    return low_rank_pass_bytes(model_, {recompute, offload, tokens}) -
           low_rank_pass_bytes(model_, {recompute, offload, 0});
  };
  EXPECT_GT(bytes(Recompute::kNone, false, 1000), bytes(Recompute::kSelective, false, 1000));
  EXPECT_GT(bytes(Recompute::kSelective, false, 1000), bytes(Recompute::kBlock, false, 1000));
  EXPECT_EQ(bytes(Recompute::kBlock, false, 2000), 2 * bytes(Recompute::kBlock, false, 1000));
  // Gate and up of one of the two blocks, 2 x 48 columns, their h, 2 x 16, and 1 / rms, in fp32.
  EXPECT_EQ(bytes(Recompute::kNone, false, 1) - bytes(Recompute::kSelective, false, 1),
            (96 + 32 + 1) * 4);
}

TEST_F(LowRankPassBytes, AttentionInFp32RunsTwiceAndRepeatsSharedHeads) {
  const auto per_token = [&](at::ScalarType compute) {
    model_.compute = compute;
    constexpr std::int64_t kMany = 1'000'000'000;  // so that attention needs more than the head
    return low_rank_pass_bytes(model_, {.tokens = kMany + 1}) -
           low_rank_pass_bytes(model_, {.tokens = kMany});
  };
  // 1 / rms of both norms of both blocks takes four bytes whatever the activations do. 32 query
  // features: the second output, k and v of all heads, their gradients; 4 bytes each.
  const std::int64_t norms = 2 * 2 * 4;
  EXPECT_EQ(per_token(at::kFloat), 2 * per_token(at::kBFloat16) - norms + 4 * 5 * 32);
  model_.config.attention.kv_heads = 4;
  EXPECT_EQ(per_token(at::kFloat), 2 * per_token(at::kBFloat16) - norms + 4 * 32);
}

}  // namespace
}  // namespace corda::train
