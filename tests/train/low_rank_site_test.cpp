// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/low_rank_site.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;

constexpr std::int64_t kIn = 12;

at::Tensor frozen_a(std::int64_t rank) { return at::rand({rank, kIn}); }

// Four rows; an undefined `a` means no adapter.
model::Linear linear(const at::Tensor& a, double scale = 2) {
  model::Linear result{.name = "", .weight = at::rand({4, kIn}), .bias = {}, .low_rank = {}};
  if (a.defined())
    result.low_rank = {.a = a, .b = at::rand({4, a.size(0)}), .magnitude = {}, .scale = scale};
  return result;
}

std::pair<std::size_t, std::int64_t> parts_and_columns(const std::vector<model::Linear>& linears) {
  std::vector<const model::Linear*> pointers;
  for (const model::Linear& one : linears) pointers.push_back(&one);
  const SiteLayout layout = layout_of(pointers);
  EXPECT_EQ(layout.part_of.size(), linears.size());
  EXPECT_EQ(layout.out, 4 * static_cast<std::int64_t>(linears.size()));
  return {layout.parts.size(), layout.rank};
}

TEST(SiteLayout, OneFrozenAOfAdjacentLayersTakesItsColumnsOnce) {
  using Result = std::pair<std::size_t, std::int64_t>;
  const at::Tensor a = frozen_a(5);  // which takes 8 columns
  EXPECT_EQ(parts_and_columns({linear(a), linear(a), linear(a)}), Result(1, 8));
  EXPECT_EQ(parts_and_columns({linear({}), linear(a), linear(a)}), Result(2, 8));
  // A layer between without an adapter: D must have no entries in its rows.
  EXPECT_EQ(parts_and_columns({linear(a), linear({}), linear(a)}), Result(3, 16));
  EXPECT_EQ(parts_and_columns({linear(a), linear(a), linear(frozen_a(9))}), Result(2, 24));
  // D holds one scale a part.
  EXPECT_EQ(parts_and_columns({linear(a, 2), linear(a, 1)}), Result(2, 16));
  // Trained factors go ways of their own, though they may start equal.
  const at::Tensor trained = frozen_a(5).set_requires_grad(true);
  EXPECT_EQ(parts_and_columns({linear(trained), linear(trained.detach().clone())}), Result(2, 16));
}

TEST(LowRankSite, AFrozenBHasNoRoomForAGradient) {
  model::Linear layer = linear(frozen_a(5).set_requires_grad(true));
  const std::int64_t of_a = gradient_elements(layout_of({&layer}), kIn);
  layer.low_rank->b.set_requires_grad(true);
  // [4, 5], up to 64 elements.
  EXPECT_EQ(gradient_elements(layout_of({&layer}), kIn), of_a + 64);
}

TEST(LowRankSite, ATrainedAOfTwoLayersIsRefused) {
  const at::Tensor a = frozen_a(5).set_requires_grad(true);
  std::vector<model::Linear> layers = {linear(a), linear({}), linear(a)};
  layers[2].name = "v_proj";
  EXPECT_EQ(error_of<core::InternalError>([&] {
              LowRankSite({&layers[0], &layers[1], &layers[2]}, nullptr);
            }),
            "[train::LowRankSite] 'v_proj' trains the A of another layer");
}

// Layers of one input, drawn: with and without adapter and bias, of several ranks, their A trained,
// frozen, or that of the layer before, their B trained or frozen.
std::vector<model::Linear> drawn_layers(std::mt19937& random) {
  const auto draw = [&](unsigned count) { return static_cast<std::int64_t>(random() % count); };
  std::vector<model::Linear> layers;
  for (std::int64_t left = 1 + draw(4); left > 0; --left) {
    const std::int64_t rows = 3 + draw(7);
    model::Linear layer{.name = "", .weight = at::randn({rows, kIn}), .bias = {}, .low_rank = {}};
    if (draw(2) == 0) layer.bias = at::randn({rows});
    if (draw(4) > 0) {
      const bool has_before = !layers.empty() && layers.back().low_rank;
      const bool shares = has_before && draw(2) == 0 && !layers.back().low_rank->a.requires_grad();
      const at::Tensor a = shares ? layers.back().low_rank->a
                                  : at::randn({1 + draw(17), kIn}).set_requires_grad(draw(2) == 0);
      layer.low_rank = {.a = a,
                        .b = at::randn({rows, a.size(0)}).set_requires_grad(draw(3) > 0),
                        .magnitude = {},
                        .scale = has_before && draw(4) > 0
                                     ? layers.back().low_rank->scale
                                     : 0.5 * static_cast<double>(1 + draw(4))};
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

// y_i = x (W_i + s_i B_i A_i)^T + bias_i side by side.
at::Tensor outputs(const std::vector<model::Linear>& layers, const at::Tensor& x) {
  std::vector<at::Tensor> result;
  for (const model::Linear& layer : layers) {
    at::Tensor y = at::mm(x, layer.weight.t());
    if (layer.bias.defined()) y = y + layer.bias;
    if (layer.low_rank)
      y = y +
          layer.low_rank->scale * at::mm(at::mm(x, layer.low_rank->a.t()), layer.low_rank->b.t());
    result.push_back(y);
  }
  return at::cat(result, 1);
}

void expect_near(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  // fp32 sums in another order.
  EXPECT_LT((actual - expected).abs().max().item<double>(),
            1e-5 * (1 + expected.abs().max().item<double>()));
}

at::Tensor garbage(std::int64_t rows, std::int64_t columns) {
  return at::full({rows, columns}, std::numeric_limits<float>::quiet_NaN());
}

TEST(LowRankSite, OutputsAndGradientsOfAnyLayersAreThoseOfAutograd) {
  at::manual_seed(7);
  for (unsigned seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<model::Linear> layers = drawn_layers(random);
    std::vector<at::Tensor> factors;
    std::vector<at::Tensor> expected_gradients;
    for (const model::Linear& layer : layers) {
      if (!layer.low_rank) continue;
      if (layer.low_rank->a.requires_grad()) factors.push_back(layer.low_rank->a);
      if (layer.low_rank->b.requires_grad()) factors.push_back(layer.low_rank->b);
    }
    std::vector<model::Linear*> pointers;
    for (model::Linear& layer : layers) pointers.push_back(&layer);
    const std::vector<at::Tensor> xs = {at::randn({5, kIn}), at::randn({9, kIn})};
    std::vector<at::Tensor> ys;
    std::vector<at::Tensor> grads;
    std::vector<at::Tensor> dxs;
    for (const at::Tensor& x : xs) {
      const at::Tensor leaf = x.clone().set_requires_grad(true);
      ys.push_back(outputs(layers, leaf));
      grads.push_back(at::randn_like(ys.back()));
      ys.back().backward(grads.back());
      dxs.push_back(leaf.grad());
    }
    for (const at::Tensor& factor : factors) {
      expected_gradients.push_back(factor.grad());
      factor.mutable_grad() = at::Tensor();
    }

    const at::NoGradGuard no_grad;
    LowRankSite site(pointers, nullptr);
    site.place_gradients(at::zeros({site.gradient_elements()}, at::kFloat));
    kernels::WindowCopies copies;
    site.add_refresh(copies);
    copies.run();
    site.begin_step();
    for (std::size_t i = 0; i < xs.size(); ++i) {
      const std::int64_t tokens = xs[i].size(0);
      const at::Tensor x = at::cat({xs[i], garbage(tokens, site.rank())}, 1);
      const at::Tensor y = garbage(tokens, site.out_features());
      const at::Tensor bottom = garbage(tokens, std::max<std::int64_t>(site.rank(), 1));
      site.forward(x, y, bottom);
      expect_near(y, ys[i]);
      const at::Tensor grad = at::cat({grads[i], garbage(tokens, site.rank())}, 1);
      const at::Tensor dx = garbage(tokens, kIn);
      site.backward(grad, bottom, dx, /*adds=*/i > 0);
      site.backward_a(grad, xs[i], /*adds=*/i > 0);
      expect_near(dx, dxs[i]);
    }
    for (std::size_t i = 0; i < factors.size(); ++i)
      expect_near(factors[i].grad(), expected_gradients[i]);
  }
}

TEST(LowRankSite, InFloat8OutputsAndGradientsAreThoseOfWhatTheCodesMean) {
  at::manual_seed(11);
  const std::int64_t in = 128, out = 384, tokens = 7;
  const double scale = 0.5;
  std::vector<model::Linear> layers;
  for (const std::int64_t rows : {128, 256}) {
    layers.push_back({.name = "", .weight = at::randn({rows, in}), .bias = at::randn({rows})});
    layers.back().low_rank = {.a = at::randn({5, in}).set_requires_grad(true),
                              .b = at::randn({rows, 5}).set_requires_grad(true),
                              .magnitude = {},
                              .scale = 2};
  }
  std::vector<at::Tensor> weights;
  for (const model::Linear& layer : layers) weights.push_back(layer.weight);
  const at::Tensor dense = at::cat(weights);

  const at::NoGradGuard no_grad;
  SiteScratch scratch(/*in_float8=*/true);
  LowRankSite site({&layers[0], &layers[1]}, nullptr, &scratch);
  site.place_gradients(at::zeros({site.gradient_elements()}, at::kFloat));
  kernels::WindowCopies copies;
  site.add_refresh(copies);
  copies.run();
  site.begin_step();

  const auto quantised = [](const at::Tensor& x, const at::Tensor& factors) {
    const kernels::ScaledRows rows{at::empty(x.sizes(), at::kFloat8_e4m3fn),
                                   at::empty({x.size(0)})};
    kernels::quantise_rows(rows, x, factors);
    return rows.codes.to(at::kFloat) * rows.scales.unsqueeze(1);
  };
  const at::Tensor held = at::cat({model::weight_of(layers[0]), model::weight_of(layers[1])});
  EXPECT_LT((held - dense).norm().item<double>(), 0.04 * dense.norm().item<double>());
  const at::Tensor row_scales = dense.abs().amax(1) / 448;
  const at::Tensor x = at::randn({tokens, in}), added = at::randn({tokens, out});
  at::Tensor expected = at::mm(quantised(x, {}), held.t());
  at::Tensor expected_dx = at::zeros({tokens, in});
  const at::Tensor dy = at::randn({tokens, out});
  std::vector<at::Tensor> expected_gradients;
  for (std::int64_t i = 0, row = 0; i < 2; row += 128, ++i) {
    const model::LowRank& factors = *layers[static_cast<std::size_t>(i)].low_rank;
    const std::int64_t rows = factors.b.size(0);
    const at::Tensor h = at::mm(x, factors.a.t());
    const at::Tensor g = dy.narrow(1, row, rows);
    expected.narrow(1, row, rows)
        .add_(at::mm(h, factors.b.t()), 2)
        .add_(layers[static_cast<std::size_t>(i)].bias);
    expected_dx.add_(at::mm(at::mm(g, factors.b), factors.a), 2);
    expected_gradients.push_back(2 * scale * at::mm(at::mm(g, factors.b).t(), x));
    expected_gradients.push_back(2 * scale * at::mm(g.t(), h));
  }
  // The scales of W's rows lie inside this sum, so the gradient takes them along.
  expected_dx.add_(at::mm(quantised(dy, row_scales), held / row_scales.unsqueeze(1)));

  const at::Tensor y = garbage(tokens, out), bottom = garbage(tokens, site.rank());
  site.forward(at::cat({x, garbage(tokens, site.rank())}, 1), y, bottom, added, scale);
  expect_near(y, added + scale * expected);
  const at::Tensor grad = at::cat({dy, garbage(tokens, site.rank())}, 1);
  const at::Tensor dx = garbage(tokens, in);
  site.backward(grad, bottom, dx, /*adds=*/false, scale);
  site.backward_a(grad, x, /*adds=*/false, scale);
  expect_near(dx, scale * expected_dx);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    expect_near(layers[i].low_rank->a.grad(), expected_gradients[2 * i]);
    expect_near(layers[i].low_rank->b.grad(), expected_gradients[2 * i + 1]);
  }
}

// Wide enough that the rows come in three parts: 256 and 128 of the first layer, then the second.
TEST(LowRankSite, Float8ThatIsMadeForAProductIsThatWhichIsHeld) {
  at::manual_seed(12);
  const std::int64_t in = 16512, tokens = 3;
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> weights = {at::randn({384, in}), at::randn({256, in})};
  const at::Tensor x = at::randn({tokens, in}), dy = at::randn({tokens, 640});
  std::vector<at::Tensor> outputs, gradients;
  for (const bool is_made : {false, true}) {
    std::vector<model::Linear> layers;
    for (const at::Tensor& weight : weights) {
      model::Linear& layer = layers.emplace_back();
      layer.weight = weight.clone();
      if (!is_made) continue;
      layer.packed = std::make_shared<const model::PackedLinear>(
          model::PackedLinear{.codes = {}, .values = layer.weight});
      layer.weight = at::empty(weight.sizes(), weight.options().device(at::kMeta));
    }
    SiteScratch scratch(/*in_float8=*/true);
    LowRankSite site({&layers[0], &layers[1]}, nullptr, &scratch);
    EXPECT_EQ(layers[0].packed->values.defined(), is_made);
    outputs.push_back(at::empty({tokens, 640}));
    gradients.push_back(at::empty({tokens, in}));
    const at::Tensor bottom = at::empty({tokens, 0});
    for (int again = 0; again < 2; ++again) {  // the backward uses the memory of the forward
      site.forward(x, outputs.back(), bottom);
      site.backward(dy, bottom, gradients.back(), /*adds=*/false);
    }
  }
  EXPECT_TRUE(outputs[1].equal(outputs[0]));
  EXPECT_TRUE(gradients[1].equal(gradients[0]));
}

TEST(LowRankSite, WhatFloat8DoesNotSuitStaysAsItIs) {
  model::Linear layer{.name = "", .weight = at::randn({24, 32})};
  layer.low_rank = {.a = at::randn({4, 32}), .b = at::randn({24, 4}), .magnitude = {}};
  const at::Tensor before = layer.weight.clone();
  SiteScratch scratch(/*in_float8=*/true);
  const LowRankSite site({&layer}, nullptr, &scratch);
  EXPECT_EQ(layer.packed, nullptr);
  EXPECT_TRUE(layer.weight.equal(before));
}

}  // namespace
}  // namespace corda::train
