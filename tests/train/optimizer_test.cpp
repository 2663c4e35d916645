// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/optimizer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "support/random_tensor.h"

namespace corda::train {
namespace {

using ::corda::testing::random_tensor;
using Parameters = std::vector<std::pair<std::string, at::Tensor>>;

Parameters parameters() {
  Parameters result = {{"q.lora_A", random_tensor({3, 5}, 1)},
                       {"q.lora_B", random_tensor({4, 3}, 2)},
                       {"q.magnitude", random_tensor({4}, 3)}};
  for (auto& [name, tensor] : result) tensor.set_requires_grad(true);
  return result;
}

Parameters after(AdamW& optimizer, double rate, int steps, bool still) {
  const Parameters& trained = optimizer.parameters();
  for (int step = 0; step < steps; ++step) {
    for (std::size_t i = 0; i < trained.size(); ++i) {
      const auto seed = static_cast<std::uint64_t>(10 * step) + i;
      trained[i].second.mutable_grad() = still ? at::zeros_like(trained[i].second)
                                               : random_tensor(trained[i].second.sizes(), seed);
    }
    optimizer.step(rate, 0);
  }
  return trained;
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  const at::NoGradGuard no_grad;
  return (a - b).abs().max().item<double>();
}

TEST(LoraPlus, GivesBAndTheMagnitudeTheirOwnRate) {
  EXPECT_THAT(lora_plus_factors(parameters(), 16), ::testing::ElementsAre(1, 16, 16));
  // The two groups step as they would with an optimizer for each.
  AdamW plus(parameters(), {.weight_decay = 0.1}, lora_plus_factors(parameters(), 4));
  AdamW slow(parameters(), {.weight_decay = 0.1});
  AdamW fast(parameters(), {.weight_decay = 0.1});
  const Parameters both = after(plus, 1e-2, 5, false);
  const Parameters a = after(slow, 1e-2, 5, false);
  const Parameters b = after(fast, 4e-2, 5, false);
  EXPECT_TRUE(both[0].second.equal(a[0].second));
  EXPECT_TRUE(both[1].second.equal(b[1].second));
  EXPECT_TRUE(both[2].second.equal(b[2].second));
  EXPECT_FALSE(both[1].second.equal(a[1].second));
}

// What decay_total counts: without a gradient nothing but the product of 1 - rate x decay is left.
TEST(WeightDecay, OfParametersWithoutAGradientIsAProduct) {
  AdamW optimizer(parameters(), {.weight_decay = 2});
  const Parameters trained = after(optimizer, 0.05, 10, true);
  EXPECT_LT(distance(trained[1].second, parameters()[1].second * std::pow(0.9, 10)), 1e-6);
}

TEST(WeightDecay, ByColumnsIsThatOfEachColumn) {
  AdamW optimizer(parameters(), {.weight_decay = 2}, {1, 2, 1});
  const at::Tensor columns = at::tensor({0.0F, 0.5F, 40.0F});
  optimizer.set_decay_columns({{"q.lora_B", columns}});
  const Parameters trained = after(optimizer, 0.05, 3, true);
  const at::Tensor kept = at::tensor({1.0, std::pow(0.9, 3), 0.0});  // never beyond zero
  EXPECT_LT(distance(trained[1].second, parameters()[1].second * kept), 1e-6);
  EXPECT_LT(distance(trained[0].second, parameters()[0].second * std::pow(0.9, 3)), 1e-6);
  // Columns of ones are plain decay, gradients or not.
  AdamW ones(parameters(), {.weight_decay = 2});
  ones.set_decay_columns({{"q.lora_B", at::ones({3})}});
  AdamW plain(parameters(), {.weight_decay = 2});
  const at::Tensor by_ones = after(ones, 0.01, 5, false)[1].second;
  EXPECT_LT(distance(by_ones, after(plain, 0.01, 5, false)[1].second), 1e-6);
}

// Of ranks that have a half each, clipped by the norm of both.
TEST(AdamWOfParts, WithTheNormOfAllIsThatOfTheWhole) {
  const at::Tensor start = random_tensor({10}, 4);
  const at::Tensor gradient = 3 * random_tensor({10}, 5);
  const AdamWSettings settings{.weight_decay = 0.1};
  const auto leaf = [&](std::int64_t begin, std::int64_t size) {
    return start.narrow(0, begin, size).clone().set_requires_grad(true);
  };
  AdamW whole({{"w", leaf(0, 10)}}, settings);
  AdamW first({{"w", leaf(0, 5)}}, settings);
  AdamW second({{"w", leaf(5, 5)}}, settings);
  const auto square_of = [&](std::int64_t begin) {
    return gradient.narrow(0, begin, 5).to(at::kDouble).square().sum();
  };
  for (int step = 0; step < 3; ++step) {
    const auto move = [&](AdamW& optimizer, const at::Tensor& slope, const SumOverRanks& sum) {
      optimizer.parameters()[0].second.mutable_grad() = slope.clone();
      return optimizer.step(0.1, 0.5, sum).item<double>();
    };
    const double norm = move(whole, gradient, {});
    EXPECT_GT(norm, 0.5);
    const double of_first = move(first, gradient.narrow(0, 0, 5),
                                 [&](const at::Tensor& square) { square.add_(square_of(5)); });
    const double of_second = move(second, gradient.narrow(0, 5, 5),
                                  [&](const at::Tensor& square) { square.add_(square_of(0)); });
    EXPECT_NEAR(of_first, norm, 1e-6 * norm);
    EXPECT_NEAR(of_second, norm, 1e-6 * norm);
  }
  const at::Tensor parts =
      at::cat({first.parameters()[0].second, second.parameters()[0].second}).detach();
  EXPECT_LT(distance(parts, whole.parameters()[0].second), 1e-6);
}

}  // namespace
}  // namespace corda::train
