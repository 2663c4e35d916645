// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Autograd over kernels against autograd over ATen's operations, on the CPU.
#include "operations.h"

#include <gtest/gtest.h>

#include <limits>

#include "corda/model/adapt.h"
#include "model/nodes.h"
#include "support/golden_batches.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace corda::train {
namespace {

using model::Operations;
using testing::Method;
using testing::OperationsRun;

class Nodes : public ::testing::TestWithParam<Method> {
 protected:
  // Two micro-batches, so that accumulation is part of it.
  OperationsRun run() const {
    const auto samples = testing::golden_batches();
    std::vector<data::PackedBatch> batches;
    for (const std::size_t i : {0, 1})
      for (auto& batch : testing::micro_batches(samples[i], 1 << 20, true))
        batches.push_back(std::move(batch));
    return {.directory = directory_.path() / "model",
            .method = GetParam(),
            .shape = {.vocab = 320, .hidden = 64, .intermediate = 96},
            .batches = std::move(batches)};
  }
  testing::TemporaryDirectory directory_;
};

TEST_P(Nodes, GradientsInFp32AreAtens) {
  const OperationsRun run = this->run();
  const auto expected = run.gradients(at::kFloat, Operations::kAten);
  const auto actual = run.gradients(at::kFloat, Operations::kKernels);
  EXPECT_NEAR(actual.loss, expected.loss, 1e-6 * expected.loss);
  const auto errors = testing::relative_errors(actual.gradients, expected.gradients);
  ASSERT_FALSE(errors.empty());
  for (std::size_t i = 0; i < errors.size(); ++i)
    EXPECT_LT(errors[i], 2e-5) << expected.gradients[i].first;  // sums in another order
}

TEST_P(Nodes, GradientsInBf16AreNoFurtherFromFp32ThanAtens) {
  const OperationsRun run = this->run();
  const auto truth = run.gradients(at::kFloat, Operations::kAten).gradients;
  const auto errors_of = [&](Operations operations) {
    return testing::relative_errors(run.gradients(at::kBFloat16, operations).gradients, truth);
  };
  const auto plain = errors_of(Operations::kAten);
  const auto ours = errors_of(Operations::kKernels);
  EXPECT_GT(testing::mean(plain), 1e-4);  // it was bf16
  EXPECT_LT(testing::mean(plain), 0.1);   // and tells something
  // Two draws of rounding over some 40 tensors.
  EXPECT_LE(testing::mean(ours), 1.1 * testing::mean(plain));
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_LE(ours[i], 1.5 * plain[i] + 2e-3) << truth[i].first;
}

// The oracle multiplies each loss by a constant, and reports what it would without.
TEST_P(Nodes, WeighedGradientsAreAtensAndLossesStay) {
  OperationsRun run = this->run();
  const auto plain = run.gradients(at::kFloat, Operations::kAten);
  run.entropy_power = 1.5;
  const auto expected = run.gradients(at::kFloat, Operations::kAten);
  const auto actual = run.gradients(at::kFloat, Operations::kKernels);
  EXPECT_NEAR(expected.loss, plain.loss, 1e-6 * plain.loss);
  EXPECT_NEAR(actual.loss, plain.loss, 1e-6 * plain.loss);
  const auto errors = testing::relative_errors(actual.gradients, expected.gradients);
  for (std::size_t i = 0; i < errors.size(); ++i)
    EXPECT_LT(errors[i], 2e-5) << expected.gradients[i].first;
  EXPECT_GT(testing::mean(testing::relative_errors(actual.gradients, plain.gradients)), 0.05);
}

// Then some tensors that the nodes work on in place have no gradient: q, k or v where they are
// rotated, gate or up; and nothing has one before the first adapter.
TEST_P(Nodes, GradientsOfSomeProjectionsAreAtens) {
  OperationsRun run = this->run();
  if (run.full()) GTEST_SKIP() << "full fine-tuning has no target modules";
  const std::vector<std::vector<std::string>> choices = {
      {"q_proj"},    {"k_proj"},          {"v_proj"},
      {"o_proj"},    {"up_proj"},         {"gate_proj"},
      {"down_proj"}, {"1.mlp.down_proj"}, {"1.self_attn.k_proj"}};
  for (const auto& targets : choices) {
    run.targets = targets;
    const auto expected = run.gradients(at::kFloat, Operations::kAten);
    const auto actual = run.gradients(at::kFloat, Operations::kKernels);
    EXPECT_NEAR(actual.loss, expected.loss, 1e-6 * expected.loss) << targets[0];
    const auto errors = testing::relative_errors(actual.gradients, expected.gradients);
    const bool one_block = targets[0].starts_with("1.");
    const std::size_t tensors = run.method == Method::kLoraDropout ? 2 : 3;
    ASSERT_EQ(errors.size(), (one_block ? 1 : 2) * tensors) << targets[0];
    for (std::size_t i = 0; i < errors.size(); ++i)
      EXPECT_LT(errors[i], 2e-5) << expected.gradients[i].first;  // sums in another order
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, Nodes,
                         ::testing::Values(Method::kDora, Method::kLoraDropout,
                                           Method::kDoraDropout, Method::kFull, Method::kFullTied),
                         [](const auto& tested) { return testing::name_of(tested.param); });

double worst(const at::Tensor& actual, const at::Tensor& expected) {
  return (actual - expected).abs().max().item<double>();
}

TEST(MasterProductNode, RoundsTheWeightOnceAndItsGradientNever) {
  const at::Tensor x = testing::random_tensor({6, 10}, 1).to(at::kBFloat16).set_requires_grad(true);
  const at::Tensor weight = testing::random_tensor({4, 10}, 2).set_requires_grad(true);
  const at::Tensor dy = testing::random_tensor({6, 4}, 3).to(at::kBFloat16);
  const at::Tensor rounded = weight.detach().to(at::kBFloat16);
  const at::Tensor y = model::master_product_node(x, weight);
  EXPECT_TRUE(at::equal(y.detach(), at::mm(x.detach(), rounded.t())));
  y.backward(dy);
  EXPECT_TRUE(at::equal(x.grad(), at::mm(dy, rounded)));
  ASSERT_EQ(weight.grad().scalar_type(), at::kFloat);
  EXPECT_LT(worst(weight.grad(), at::mm(dy.to(at::kFloat).t(), x.detach().to(at::kFloat))), 1e-5);
}

TEST(CrossEntropyNode, GradientOfAnFp32WeightIsNotRounded) {
  const at::Tensor rows = testing::random_tensor({7, 12}, 1).to(at::kBFloat16);
  const at::Tensor weight = testing::random_tensor({19, 12}, 2).set_requires_grad(true);
  const at::Tensor targets = at::tensor({0, 18, 3, 3, 7, 11, 2}, at::kLong);
  model::cross_entropy_node(rows, weight, targets, 3, {}).backward();
  // The gradient of the logits, computed in fp32 from bf16 logits and rounded once.
  const at::Tensor logits = at::mm(rows, weight.detach().to(at::kBFloat16).t()).to(at::kFloat);
  const at::Tensor grad = (logits.softmax(1) - at::one_hot(targets, 19)).to(at::kBFloat16);
  EXPECT_LT(worst(weight.grad(), at::mm(grad.to(at::kFloat).t(), rows.to(at::kFloat))), 1e-2);
  const at::Tensor again = weight.grad().to(at::kBFloat16).to(at::kFloat);
  EXPECT_FALSE(at::equal(again, weight.grad()));
}

TEST(CrossEntropyNode, NoTargetsMeanNoGradient) {
  const at::Tensor weight = testing::random_tensor({19, 12}, 2).set_requires_grad(true);
  const at::Tensor loss =
      model::cross_entropy_node(at::empty({0, 12}), weight, at::empty({0}, at::kLong), 3, {});
  loss.backward();
  EXPECT_EQ(loss.item<float>(), 0);
  EXPECT_EQ(weight.grad().abs().max().item<float>(), 0);
}

TEST(GluNode, IsGoneThroughOnce) {
  const at::Tensor x = testing::random_tensor({3, 8}, 1).set_requires_grad(true);
  const at::Tensor out = model::glu_node(2 * x, 3 * x, kernels::Activation::kSilu).sum();
  out.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(out.backward(), std::exception);
}

// Ordinary adapters, large ones, and rows that the adapter nearly removes.
TEST(AdaptedRowNorms, AreThoseOfTheMatrix) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = testing::random_tensor({24, 40}, 1).to(type);
    for (const double size : {0.01, 1.0, 30.0, -1.0}) {
      model::LowRank low_rank;
      low_rank.scale = 0.5;
      low_rank.row_squares = model::row_squares(weight);
      low_rank.a = testing::random_tensor({6, 40}, 2);
      low_rank.b = size * testing::random_tensor({24, 6}, 3);
      if (size < 0) {  // takes 0.98 of the first six rows away
        low_rank.a = weight.slice(0, 0, 6).to(at::kFloat);
        low_rank.b = at::zeros({24, 6});
        low_rank.b.slice(0, 0, 6).fill_diagonal_(-1.96);
      }
      const auto wide = [](const at::Tensor& x) { return x.to(at::kDouble); };
      const at::Tensor expected =
          (wide(weight) + 0.5 * at::mm(wide(low_rank.b), wide(low_rank.a))).norm(2, {1});
      const at::Tensor actual = model::adapted_row_norms(weight, low_rank).to(at::kDouble);
      // The rounding is of the square; what is left of a removed row is a 2500th of it.
      const double rounding = type == at::kFloat ? 1e-6 : 1e-5;
      EXPECT_LT(((actual - expected) / expected).abs().max().item<double>(),
                rounding * (size < 0 ? 2500 : 1))
          << type << " " << size;
    }
    model::LowRank removed;
    removed.row_squares = model::row_squares(weight);
    removed.a = weight.slice(0, 0, 6).to(at::kFloat);
    removed.b = at::zeros({24, 6});
    removed.b.slice(0, 0, 6).fill_diagonal_(-1);
    EXPECT_GT(model::adapted_row_norms(weight, removed).min().item<float>(), 0);
  }
}

// The node takes rows in chunks, and a factor follows it.
TEST(CrossEntropyNode, GradientsDoNotDependOnTheChunk) {
  const at::Tensor rows = testing::random_tensor({7, 12}, 1).set_requires_grad(true);
  const at::Tensor weight = testing::random_tensor({19, 12}, 2).set_requires_grad(true);
  const at::Tensor targets = at::tensor({0, 18, 3, 3, 7, 11, 2}, at::kLong);
  const auto gradients = [&](const at::Tensor& loss) {
    rows.mutable_grad() = weight.mutable_grad() = at::Tensor();
    (loss * 0.25).backward();
    return std::pair{rows.grad().clone(), weight.grad().clone()};
  };
  const auto expected =
      gradients(at::cross_entropy_loss(at::mm(rows, weight.t()), targets, {}, at::Reduction::Sum));
  for (const std::int64_t chunk : {1, 3, 7, 100}) {
    const auto [d_rows, d_weight] =
        gradients(model::cross_entropy_node(rows, weight, targets, chunk, {}));
    EXPECT_LT((d_rows - expected.first).abs().max().item<double>(), 1e-6) << chunk;
    EXPECT_LT((d_weight - expected.second).abs().max().item<double>(), 1e-6) << chunk;
  }
}

TEST(AttentionNode, GradientsAreAtens) {
  const std::vector<std::int32_t> offsets = {0, 5, 6, 13};
  std::vector<std::int32_t> positions;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i)
    for (std::int32_t t = offsets[i]; t < offsets[i + 1]; ++t) positions.push_back(t - offsets[i]);
  const std::vector<std::int32_t> ids(13, 1);
  const model::Batch batch = model::make_batch(ids, positions, offsets, 2, at::kCPU);
  const auto leaf = [](std::int64_t heads, std::uint64_t seed) {
    return testing::random_tensor({13, heads, 8}, seed).set_requires_grad(true);
  };
  const at::Tensor q = leaf(4, 1), k = leaf(2, 2), v = leaf(2, 3);
  const at::Tensor direction = testing::random_tensor({13, 4, 8}, 4);
  const auto gradients = [&](const at::Tensor& out) {
    q.mutable_grad() = k.mutable_grad() = v.mutable_grad() = at::Tensor();
    (out * direction).sum().backward();
    return std::vector<at::Tensor>{out.detach(), q.grad(), k.grad(), v.grad()};
  };
  for (const model::AttentionRule rule :
       {model::AttentionRule{.scale = 0.3}, model::AttentionRule{.scale = 0.3, .window = 3},
        model::AttentionRule{.scale = 0.3, .window = 3, .soft_cap = 0.5}}) {
    const auto expected = gradients(model::PackedAttention(batch).attend(0, rule, q, k, v));
    const auto actual = gradients(model::attention_node(batch, rule, q, k, v));
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_LT((actual[i] - expected[i]).abs().max().item<double>(), 1e-6) << i;
  }
}

}  // namespace
}  // namespace corda::train
