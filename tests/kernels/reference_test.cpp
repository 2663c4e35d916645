// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The CPU references, which are the oracles of the GPU kernels, against autograd.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "corda/core/error.h"
#include "corda/kernels/cross_entropy.h"
#include "corda/kernels/embedding.h"
#include "corda/kernels/float8.h"
#include "corda/kernels/gemm.h"
#include "corda/kernels/glu.h"
#include "corda/kernels/pack_lower.h"
#include "corda/kernels/rms_norm.h"
#include "corda/kernels/rotary.h"
#include "corda/kernels/scale_columns.h"
#include "corda/kernels/window_copies.h"

namespace corda::kernels {
namespace {

// fp32 sums in another order.
constexpr double kRounding = 2e-6;

at::Tensor leaf(at::IntArrayRef shape) { return at::randn(shape).set_requires_grad(true); }

at::Tensor gradient(const at::Tensor& output, const at::Tensor& input, const at::Tensor& up) {
  return torch::autograd::grad({output}, {input}, {up}, /*retain_graph=*/true)[0];
}

void expect_near(const at::Tensor& actual, const at::Tensor& expected, double tolerance) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const at::NoGradGuard no_grad;
  EXPECT_LT((actual - expected).abs().max().item<double>(),
            tolerance * (1 + expected.abs().max().item<double>()));
}

class Reference : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(5); }
};

TEST_F(Reference, RmsNormAndItsBackwardMatchAutograd) {
  const at::Tensor x = leaf({7, 24});
  const at::Tensor weight = at::rand({24}) + 0.5;
  const at::Tensor inv_rms = at::empty({7});
  // A window of a wider buffer, as training uses it.
  const at::Tensor out = at::zeros({7, 32}).narrow(1, 0, 24);
  const at::Tensor expected = at::rms_norm(x, {24}, weight, 1e-5);
  rms_norm(out, inv_rms, x.detach(), weight, 1e-5);
  expect_near(out, expected, kRounding);

  const at::Tensor up = at::randn({7, 24});
  const at::Tensor residual = at::randn({7, 24});
  const at::Tensor total = residual + gradient(expected, x, up);
  const at::Tensor grad = up.clone();
  rms_norm_backward(grad, residual, x.detach(), inv_rms, weight);
  expect_near(residual, total, kRounding);
  expect_near(grad, expected, kRounding);
}

// The formula of each kind in plain operations; rounding has no gradient of its own.
at::Tensor norm_formula(const at::Tensor& x, const at::Tensor& weight, NormKind kind,
                        at::ScalarType type) {
  at::Tensor normed = x * at::rsqrt(x.square().mean(-1, true) + 1e-5);
  if (kind.rounds_before_weight) normed = normed.to(type).to(at::kFloat);
  return normed * (weight + kind.offset);
}

TEST_F(Reference, EveryKindOfNormAndItsBackwardMatchAutograd) {
  for (const NormKind kind : {NormKind{}, NormKind{0, true}, NormKind{1, false}}) {
    const at::Tensor x = leaf({7, 24});
    const at::Tensor weight = at::rand({24}) - 0.5;
    const at::Tensor inv_rms = at::empty({7}), out = at::empty({7, 24});
    const at::Tensor expected = norm_formula(x, weight, kind, at::kFloat);
    rms_norm(out, inv_rms, x.detach(), weight, 1e-5, kind);
    expect_near(out, expected, kRounding);
    const at::Tensor up = at::randn({7, 24}), residual = at::zeros({7, 24}), grad = up.clone();
    rms_norm_backward(grad, residual, x.detach(), inv_rms, weight, /*keep_output=*/true, kind);
    expect_near(residual, gradient(expected, x, up), kRounding);
    expect_near(grad, expected, kRounding);

    // Three groups of eight in a row, each with a norm of its own.
    const at::Tensor small = weight.narrow(0, 0, 8).contiguous();
    const at::Tensor grouped = norm_formula(x.view({7, 3, 8}), small, kind, at::kFloat).flatten(1);
    group_norm(out, x.detach(), small, 1e-5, kind);
    expect_near(out, grouped, kRounding);
    const at::Tensor in_place = x.detach().clone();
    group_norm_backward(in_place, up, small, 1e-5, kind);
    expect_near(in_place, gradient(grouped, x, up), kRounding);
  }
}

TEST_F(Reference, KindsOfNormRoundWhereTheySay) {
  const at::Tensor x = at::randn({5, 16}).to(at::kBFloat16);
  const at::Tensor weight = (at::rand({16}) + 0.5).to(at::kBFloat16);
  const at::Tensor inv_rms = at::empty({5});
  for (const NormKind kind : {NormKind{}, NormKind{0, true}, NormKind{1, false}}) {
    const at::Tensor out = at::empty_like(x);
    rms_norm(out, inv_rms, x, weight, 1e-5, kind);
    const at::Tensor expected =
        norm_formula(x.to(at::kFloat), weight.to(at::kFloat), kind, at::kBFloat16);
    EXPECT_TRUE(out.equal(expected.to(at::kBFloat16)));
  }
}

TEST_F(Reference, RmsNormBackwardLeavesTheGradientWhereTheOutputIsNotWanted) {
  const at::Tensor x = at::randn({3, 8});
  const at::Tensor inv_rms = at::rsqrt(x.square().mean(1));
  const at::Tensor grad = at::randn({3, 8});
  const at::Tensor before = grad.clone();
  rms_norm_backward(grad, at::zeros({3, 8}), x, inv_rms, at::ones({8}), /*keep_output=*/false);
  EXPECT_TRUE(grad.equal(before));
}

TEST_F(Reference, ScaleColumnsAndItsBackwardMatchAutograd) {
  const at::Tensor y = leaf({5, 9}), factor = leaf({9}), up = at::randn({5, 9});
  const at::Tensor expected = y * factor;
  const at::Tensor out = at::empty({5, 16}).narrow(1, 0, 9);
  scale_columns(out, y.detach(), factor.detach());
  expect_near(out, expected, kRounding);
  const at::Tensor grad_factor = at::empty({9}), dy = at::empty({5, 9});
  scale_columns_backward(dy, grad_factor, up, y.detach(), factor.detach());
  expect_near(dy, gradient(expected, y, up), kRounding);
  expect_near(grad_factor, gradient(expected, factor, up), kRounding);
  scale_columns_backward(up, grad_factor, up, y.detach(), factor.detach());  // in place
  expect_near(up, dy, kRounding);
}

TEST_F(Reference, GatherRotatedBackIsTheBackwardOfRotate) {
  const std::int64_t tokens = 5, heads = 3, kv_heads = 2, d = 8;
  const at::Tensor angles = at::rand({tokens, d / 2}) * 6;
  const at::Tensor cos = angles.cos();
  const at::Tensor sin = angles.sin();
  const at::Tensor qkv = at::randn({tokens, (heads + 2 * kv_heads) * d});
  const at::Tensor turned = qkv.clone();
  rotate(turned, heads + kv_heads, cos, sin, {d, false});
  // A rotation keeps lengths and leaves the values alone.
  const auto norms = [&](const at::Tensor& x) {
    return x.unflatten(1, {heads + 2 * kv_heads, d}).norm(2, {2});
  };
  expect_near(norms(turned), norms(qkv), kRounding);
  EXPECT_TRUE(turned.narrow(1, (heads + kv_heads) * d, kv_heads * d)
                  .equal(qkv.narrow(1, (heads + kv_heads) * d, kv_heads * d)));
  EXPECT_NEAR(turned[1][2].item<double>(),
              (qkv[1][2] * cos[1][2] - qkv[1][2 + d / 2] * sin[1][2]).item<double>(), 1e-6);
  // The transpose of a rotation is its inverse.
  const auto head_range = [&](std::int64_t first, std::int64_t count) {
    return turned.narrow(1, first * d, count * d).unflatten(1, {count, d}).contiguous();
  };
  const at::Tensor back = at::empty_like(qkv);
  gather_rotated_back(back, head_range(0, heads), head_range(heads, kv_heads),
                      head_range(heads + kv_heads, kv_heads), cos, sin, {d, false});
  expect_near(back, qkv, kRounding);
}

TEST_F(Reference, RotationOfPartsAndOfNeighboursIsUndoneByItsBackward) {
  const std::int64_t tokens = 4, heads = 2, kv_heads = 1, half = 3;
  const at::Tensor angles = at::rand({tokens, half}) * 6;
  const at::Tensor cos = angles.cos(), sin = angles.sin();
  for (const RotaryShape shape :
       {RotaryShape{6, true}, RotaryShape{10, false}, RotaryShape{10, true}}) {
    const std::int64_t d = shape.head_dim;
    const at::Tensor qkv = at::randn({tokens, (heads + 2 * kv_heads) * d});
    const at::Tensor turned = qkv.clone();
    rotate(turned, heads + kv_heads, cos, sin, shape);
    // Pair 1 of the second head of token 2, and an element past the turned ones.
    const std::int64_t a = d + (shape.interleaved ? 2 : 1);
    const std::int64_t b = d + (shape.interleaved ? 3 : 1 + half);
    EXPECT_NEAR(turned[2][a].item<double>(),
                (qkv[2][a] * cos[2][1] - qkv[2][b] * sin[2][1]).item<double>(), 1e-6);
    EXPECT_NEAR(turned[2][b].item<double>(),
                (qkv[2][b] * cos[2][1] + qkv[2][a] * sin[2][1]).item<double>(), 1e-6);
    if (d > 2 * half) {
      EXPECT_EQ(turned[2][2 * d - 1].item<float>(), qkv[2][2 * d - 1].item<float>());
    }
    const auto part = [&](std::int64_t first, std::int64_t count) {
      return turned.narrow(1, first * d, count * d).unflatten(1, {count, d}).contiguous();
    };
    const at::Tensor back = at::empty_like(qkv);
    gather_rotated_back(back, part(0, heads), part(heads, kv_heads),
                        part(heads + kv_heads, kv_heads), cos, sin, shape);
    expect_near(back, qkv, kRounding);
  }
}

TEST_F(Reference, GluAndItsBackwardMatchAutograd) {
  for (const Activation activation :
       {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    const at::Tensor gate_up = leaf({6, 20});
    const auto halves = gate_up.chunk(2, 1);
    const at::Tensor expected = activate(halves[0], activation) * halves[1];
    const at::Tensor out = at::empty({6, 16}).narrow(1, 0, 10);
    glu(out, halves[0].detach(), halves[1].detach(), activation);
    expect_near(out, expected, kRounding);

    const at::Tensor up = at::randn({6, 10});
    const at::Tensor down = gradient(expected, gate_up, up);
    for (const bool keep_output : {true, false}) {
      const at::Tensor grad = up.clone();
      const at::Tensor in_place = gate_up.detach().clone();
      glu_backward(in_place.narrow(1, 0, 10), in_place.narrow(1, 10, 10), grad, activation,
                   keep_output);
      expect_near(in_place, down, kRounding);
      expect_near(grad, keep_output ? expected.detach() : up, kRounding);
    }
  }
}

TEST_F(Reference, ActivationsAreThoseOfTheirDefinitions) {
  const at::Tensor x = at::tensor({-1.5, 0.0, 2.0}, at::kDouble);
  const auto at_two = [&](Activation activation) {
    return activate(x, activation)[2].item<double>();
  };
  EXPECT_NEAR(at_two(Activation::kSilu), 2 / (1 + std::exp(-2.0)), 1e-12);
  EXPECT_NEAR(at_two(Activation::kGelu), 1 + std::erf(std::sqrt(2.0)), 1e-12);
  EXPECT_NEAR(at_two(Activation::kGeluTanh),
              1 + std::tanh(std::sqrt(2 / M_PI) * (2 + 0.044715 * 8)), 1e-12);
}

TEST_F(Reference, CrossEntropyAndItsGradientMatchAutograd) {
  const at::Tensor logits = leaf({9, 33});
  const at::Tensor targets = at::randint(0, 33, {9}, at::kLong);
  const at::Tensor each = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
  const at::Tensor down = gradient(each.sum() * 0.25, logits, at::ones({}));
  const at::Tensor loss = at::empty({9});
  const at::Tensor in_place = logits.detach().clone();
  cross_entropy(loss, in_place, targets, at::scalar_tensor(0.25F));
  expect_near(loss, each, kRounding);
  expect_near(in_place, down, kRounding);
}

TEST_F(Reference, SoftCapAndScaleOfLogitsAreInLossAndGradients) {
  const at::Tensor rows = leaf({9, 12}), weight = leaf({33, 12});
  const at::Tensor targets = at::randint(0, 33, {9}, at::kLong);
  const LogitRule rule{.scale = 0.5, .soft_cap = 2};
  const at::Tensor logits = at::tanh(at::mm(rows, weight.t()) * rule.scale / 2) * 2;
  const at::Tensor each = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
  const at::Tensor loss = at::empty({9}), grad_rows = at::empty({9, 12});
  const at::Tensor grad_weight = at::empty({33, 12});
  linear_cross_entropy(loss, grad_rows, rows.detach(), weight.detach(), targets, at::ones({}),
                       {.chunk = 4, .grad_weight = grad_weight, .rule = rule});
  expect_near(loss, each, kRounding);
  expect_near(grad_rows, gradient(each.sum(), rows, at::ones({})), kRounding);
  expect_near(grad_weight, gradient(each.sum(), weight, at::ones({})), kRounding);
}

TEST_F(Reference, EntropyWeightsAreThoseOfTheTwentyLikeliestTokens) {
  // Of n equal logits above the rest the entropy is ln n; of more than 20 it is that of 20.
  for (const auto& [equal, expected] :
       {std::pair(1, 0.0), std::pair(4, std::log(4.0)), std::pair(20, std::log(20.0)),
        std::pair(33, std::log(20.0))}) {
    at::Tensor logits = at::full({2, 33}, -200.0F);
    logits.narrow(1, 0, equal).fill_(3);
    for (const double power : {1.0, 0.5, 2.0}) {
      const double weight = std::pow(expected / std::log(20.0), power);
      EXPECT_NEAR(entropy_weights(logits, power)[1].item<double>(), weight, 1e-6) << equal;
    }
  }
  const at::Tensor few = at::zeros({1, 5});  // a smaller vocabulary
  EXPECT_NEAR(entropy_weights(few, 1)[0].item<double>(), std::log(5.0) / std::log(20.0), 1e-6);
}

// The weights are constants to the gradient, and the losses stay what they are.
TEST_F(Reference, WeighedCrossEntropyMatchesAutograd) {
  const at::Tensor rows = leaf({9, 12}), weight = leaf({33, 12});
  at::Tensor targets = at::randint(0, 33, {9}, at::kLong);
  const LogitRule rule{.scale = 0.8, .soft_cap = 12};
  const at::Tensor logits = at::tanh(at::mm(rows, weight.t()) * rule.scale / 12) * 12;
  const at::Tensor each = at::cross_entropy_loss(logits, targets, {}, at::Reduction::None);
  const at::Tensor top = std::get<0>(logits.detach().sort(1, true)).narrow(1, 0, 20);
  const at::Tensor shares = top.softmax(1);
  const at::Tensor entropy = -(shares * shares.log()).sum(1) / std::log(20.0);
  ASSERT_LT(entropy.min().item<float>(), 0.8);  // rows are weighed differently
  ASSERT_GT((entropy.max() - entropy.min()).item<float>(), 0.1);
  for (const double power : {1.0, 1.5}) {
    const at::Tensor sum = (each * entropy.pow(power)).sum() * 0.25;
    const at::Tensor loss = at::empty({9}), grad_rows = at::empty({9, 12});
    const at::Tensor grad_weight = at::empty({33, 12});
    linear_cross_entropy(
        loss, grad_rows, rows.detach(), weight.detach(), targets, at::scalar_tensor(0.25F),
        {.chunk = 4, .grad_weight = grad_weight, .rule = rule, .entropy_power = power});
    expect_near(loss, each, kRounding);
    expect_near(grad_rows, gradient(sum, rows, at::ones({})), kRounding);
    expect_near(grad_weight, gradient(sum, weight, at::ones({})), kRounding);
  }
  at::Tensor in_place = logits.detach().clone();
  targets[3] = -1;
  cross_entropy(at::empty({9}), in_place, targets, at::ones({}), 0, 1);
  EXPECT_EQ(in_place[3].abs().sum().item<float>(), 0);
}

TEST_F(Reference, CrossEntropyOfATargetOfMinusOneIsZero) {
  const at::Tensor all = at::randn({3, 7});
  const at::Tensor loss = at::empty({3});
  const at::Tensor logits = all.clone();
  cross_entropy(loss, logits, at::tensor({2, -1, 6}, at::kLong), at::ones({}));
  EXPECT_EQ(loss[1].item<float>(), 0);
  EXPECT_EQ(logits[1].abs().sum().item<float>(), 0);
  const at::Tensor others = all.index_select(0, at::tensor({0, 2}, at::kLong));
  const at::Tensor loss_of_others = at::empty({2});
  cross_entropy(loss_of_others, others, at::tensor({2, 6}, at::kLong), at::ones({}));
  EXPECT_TRUE(loss.index_select(0, at::tensor({0, 2}, at::kLong)).equal(loss_of_others));
  EXPECT_TRUE(logits.index_select(0, at::tensor({0, 2}, at::kLong)).equal(others));
}

TEST_F(Reference, LinearCrossEntropyMatchesAutogradInChunksOfEverySize) {
  const at::Tensor rows = leaf({9, 12});
  const at::Tensor weight = leaf({33, 12});
  const at::Tensor targets = at::randint(0, 33, {9}, at::kLong);
  const at::Tensor each =
      at::cross_entropy_loss(at::mm(rows, weight.t()), targets, {}, at::Reduction::None);
  const at::Tensor sum = each.sum() * 0.25;
  const at::Tensor by_rows = gradient(sum, rows, at::ones({}));
  const at::Tensor by_weight = gradient(sum, weight, at::ones({}));
  const at::NoGradGuard no_grad;
  const at::Tensor scale = at::scalar_tensor(0.25F);
  for (const std::int64_t chunk : {1, 4, 9, 20}) {
    const at::Tensor loss = at::empty({9});
    const at::Tensor grad_rows = at::empty({9, 12});
    const at::Tensor grad_weight = at::full({33, 12}, std::numeric_limits<float>::quiet_NaN());
    linear_cross_entropy(loss, grad_rows, rows, weight, targets, scale,
                         {.chunk = chunk, .grad_weight = grad_weight});
    expect_near(loss, each, kRounding);
    expect_near(grad_rows, by_rows, kRounding);
    expect_near(grad_weight, by_weight, kRounding);
    const at::Tensor in_place = rows.clone();
    linear_cross_entropy(loss, in_place, in_place, weight, targets, scale, {.chunk = chunk});
    EXPECT_TRUE(in_place.equal(grad_rows)) << chunk;
  }
}

TEST_F(Reference, LinearCrossEntropyOfNoRowsLeavesAGradientOfZeros) {
  const at::Tensor grad_weight = at::ones({33, 12});
  linear_cross_entropy(at::empty({0}), at::empty({0, 12}), at::empty({0, 12}), at::ones({33, 12}),
                       at::empty({0}, at::kLong), at::ones({}),
                       {.chunk = 4, .grad_weight = grad_weight});
  EXPECT_EQ(grad_weight.abs().sum().item<float>(), 0);
}

TEST_F(Reference, EmbeddingAndItsGradientMatchAutograd) {
  const at::Tensor table = leaf({7, 5});
  const at::Tensor ids = at::tensor({3, 0, 3, 6, 3}, at::kLong);
  const at::Tensor expected = at::embedding(table, ids);
  const at::Tensor up = at::randn({5, 5});
  const at::Tensor down = gradient(expected, table, up);
  const at::NoGradGuard no_grad;
  const at::Tensor out = at::empty({5, 8}).narrow(1, 2, 5);
  embedding(out, table, ids);
  EXPECT_TRUE(out.equal(expected));
  const at::Tensor narrow = at::empty({5, 5}, at::kBFloat16);
  embedding(narrow, table, ids);
  EXPECT_TRUE(narrow.equal(expected.to(at::kBFloat16)));
  const at::Tensor before = at::randn({7, 5});
  const at::Tensor grad_table = before.clone();
  embedding_backward(grad_table, up, ids);
  expect_near(grad_table, before + down, kRounding);
}

TEST_F(Reference, GemmReadsWindowsAndTransposes) {
  const at::Tensor a = at::randn({5, 12}).narrow(1, 2, 7);
  const at::Tensor b = at::randn({4, 9}).narrow(1, 0, 7).t();
  const at::Tensor c = at::randn({5, 8}).narrow(1, 1, 4);
  const at::Tensor before = c.clone();
  gemm(c, a, b, {.alpha = 0.5, .beta = 2});
  expect_near(c, at::mm(a, b) * 0.5 + before * 2, kRounding);
  const at::Tensor added = at::randn({5, 4});
  gemm_add(c, a, b, added);
  expect_near(c, at::mm(a, b) + added, kRounding);
}

TEST_F(Reference, GemmWithBetaZeroDoesNotReadTheResult) {
  const at::Tensor c = at::full({2, 3}, std::numeric_limits<float>::quiet_NaN());
  gemm(c, at::ones({2, 4}), at::ones({4, 3}));
  EXPECT_TRUE(c.equal(at::full({2, 3}, 4.0F)));
}

TEST_F(Reference, RowsInFloat8FillItsRangeAndRoundToEven) {
  const at::Tensor x = at::tensor({1.0F, 2.0F, -4.0F, 0.0F,        //
                                   17.0F, 19.0F, -448.0F, 0.001F,  //
                                   0.0F, 0.0F, 0.0F, 0.0F,         //
                                   1e-37F, -1e-36F, 0.0F, 1e-44F})
                           .view({4, 4});
  const ScaledRows rows{at::empty({4, 4}, at::kFloat8_e4m3fn), at::empty({4})};
  quantise_rows(rows, x);
  expect_near(rows.scales, at::tensor({4.0F / 448, 1.0F, 1.0F, 1.0F}), 1e-7);
  // Between 16 and 32 there is every second number; the least above zero is 2^-9.
  EXPECT_TRUE(rows.codes.to(at::kFloat)
                  .equal(at::tensor({112.0F, 224.0F, -448.0F, 0.0F,      //
                                     16.0F, 20.0F, -448.0F, 1.0F / 512,  //
                                     0.0F, 0.0F, 0.0F, 0.0F,             //
                                     0.0F, 0.0F, 0.0F, 0.0F})
                             .view({4, 4})));
  quantise_rows(rows, x, at::tensor({8.0F, 0.5F, 0.5F, 1.0F}));
  EXPECT_TRUE(rows.codes[0].to(at::kFloat).equal(at::tensor({448.0F, 56.0F, -112.0F, 0.0F})));
}

TEST_F(Reference, TransposedCodesGoWhereTheyAreSent) {
  const at::Tensor from = at::randn({3, 5}).to(at::kFloat8_e4m3fn);
  const at::Tensor to = at::zeros({5, 7}).to(at::kFloat8_e4m3fn);
  transpose_codes(to.narrow(1, 2, 3), from);
  EXPECT_TRUE(to.to(at::kFloat).narrow(1, 2, 3).equal(from.to(at::kFloat).t()));
  EXPECT_TRUE(to.to(at::kFloat).narrow(1, 0, 2).equal(at::zeros({5, 2})));
  EXPECT_THAT([&] { transpose_codes(to, from); },
              ::testing::ThrowsMessage<core::InternalError>(
                  ::testing::HasSubstr("received Float8_e4m3fn")));
}

TEST(Float8Gpus, AreThoseOfComputeCapability8Point9AndNewer) {
  for (const auto& [major, minor] : {std::pair{7, 5}, {7, 9}, {8, 0}, {8, 6}, {8, 7}})
    EXPECT_FALSE(multiplies_float8(major, minor)) << major << '.' << minor;
  for (const auto& [major, minor] : {std::pair{8, 9}, {9, 0}, {10, 0}, {10, 3}, {12, 0}})
    EXPECT_TRUE(multiplies_float8(major, minor)) << major << '.' << minor;
  EXPECT_FALSE(multiplies_float8(at::Device(at::kCPU)));
}

TEST_F(Reference, ProductsInFloat8AreThoseOfWhatTheCodesMean) {
  const auto drawn = [](std::int64_t n) {
    const ScaledRows rows{at::empty({n, 32}, at::kFloat8_e4m3fn), at::empty({n})};
    quantise_rows(rows, at::randn({n, 32}));
    return rows;
  };
  const auto meant = [](const ScaledRows& rows) {
    return rows.codes.to(at::kFloat) * rows.scales.unsqueeze(1);
  };
  const ScaledRows a = drawn(5);
  const ScaledRows b = drawn(16);
  const at::Tensor expected = at::mm(meant(a), meant(b).t());
  const at::Tensor d = at::full({5, 20}, 7.0F).narrow(1, 2, 16);
  gemm_float8(d, a, b, {});
  expect_near(d, expected, kRounding);
  const at::Tensor added = at::randn({5, 16});
  gemm_float8(d, a, b, added, /*alpha=*/0.5);
  expect_near(d, expected * 0.5 + added, kRounding);
}

TEST_F(Reference, APackedTriangleIsRowByRow) {
  const at::Tensor c =
      at::tensor({1.0f, 2.0f, 4.0f, 2.0f, 3.0f, 5.0f, 4.0f, 5.0f, 6.0f}).reshape({3, 3});
  EXPECT_TRUE(at::equal(pack_lower(c), at::tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f})));
  try {
    pack_lower(at::ones({2, 3}));
    FAIL() << "a matrix that is not square was taken";
  } catch (const core::ShapeError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("must be square; it is [2, 3]"));
  }
}

TEST_F(Reference, WindowCopiesScaleAndRound) {
  WindowCopies copies;
  const at::Tensor from = at::randn({3, 5});
  const at::Tensor to = at::zeros({3, 9}, at::kBFloat16);
  copies.add(from, to.narrow(1, 2, 5), 0.5);
  copies.run();
  EXPECT_TRUE(to.narrow(1, 2, 5).equal((from * 0.5).to(at::kBFloat16)));
  EXPECT_EQ(to.narrow(1, 0, 2).abs().sum().item<double>(), 0);
  EXPECT_EQ(to.narrow(1, 7, 2).abs().sum().item<double>(), 0);
  from.fill_(2);  // what is copied is what stands there when it runs
  copies.run();
  EXPECT_EQ(to[1][3].item<float>(), 1.0F);
}

TEST_F(Reference, WrongShapesAreRefusedByName) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const core::InternalError& error) {
      return error.what();
    }
    return "";
  };
  const at::Tensor x = at::zeros({4, 6});
  EXPECT_THAT(message([&] {
                rms_norm(at::zeros({4, 5}), at::zeros({4}), x, at::ones({6}), 1e-5);
              }),
              ::testing::HasSubstr("the output must be [4, 6]"));
  EXPECT_THAT(message([&] {
                gemm(at::zeros({4, 4}), x, at::zeros({5, 4}));
              }),
              ::testing::HasSubstr("[kernels::gemm]"));
  EXPECT_THAT(message([&] {
                glu(at::zeros({4, 6}), x, at::zeros({4, 7}), Activation::kSilu);
              }),
              ::testing::HasSubstr("up must be [4, 6]"));
  EXPECT_THAT(message([&] {
                embedding(x, at::zeros({3, 6}, at::kInt), at::zeros({4}, at::kLong));
              }),
              ::testing::HasSubstr("the table must be a contiguous Float [3, 6]"));
  EXPECT_THAT(
      message([&] { cross_entropy(at::zeros({4}), x, at::zeros({4}, at::kInt), at::ones({})); }),
      ::testing::HasSubstr("the targets must be a contiguous Long"));
}

}  // namespace
}  // namespace corda::kernels
