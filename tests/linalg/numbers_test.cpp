// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/numbers.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace corda::linalg {
namespace {

TEST(Numbers, ScrambledOnesAreCentredAndOfVarianceOneThird) {
  const at::Tensor x = scrambled(1000, 64, 1, at::kCPU);
  EXPECT_EQ(x.sizes(), at::IntArrayRef({1000, 64}));
  EXPECT_NEAR(x.mean().item<double>(), 0, 0.01);  // four standard errors
  EXPECT_NEAR(x.square().mean().item<double>(), 1.0 / 3, 0.005);
  EXPECT_LE(x.abs().max().item<double>(), 1);
  EXPECT_FALSE(at::equal(x, scrambled(1000, 64, 2, at::kCPU)));
  EXPECT_LT(at::mm(x.t(), x).fill_diagonal_(0).abs().max().item<double>(), 1000.0 / 3 * 0.2);
}

TEST(Numbers, NormalOnesHaveTheMomentsOfTheNormalDistribution) {
  const at::Tensor x = normal_numbers(1000, 64, 2, at::kCPU);
  EXPECT_EQ(x.sizes(), at::IntArrayRef({1000, 64}));
  // Five standard errors of 64 000 numbers.
  EXPECT_NEAR(x.mean().item<double>(), 0, 0.02);
  EXPECT_NEAR(x.square().mean().item<double>(), 1, 0.03);
  EXPECT_NEAR(x.pow(4).mean().item<double>(), 3, 0.2);
  EXPECT_LT(at::mm(x.t(), x).fill_diagonal_(0).abs().max().item<double>(), 1000 * 0.2);
}

}  // namespace
}  // namespace corda::linalg
