// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/subspace_iteration.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "linalg/dense.h"
#include "linalg/known.h"
#include "linalg/numbers.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::error_of;
using ::corda::testing::Known;
using ::corda::testing::known;
using ::testing::HasSubstr;

TEST(SubspaceIteration, StaysOrthonormalUnderAnOutlierOf1e8) {
  at::manual_seed(11);
  at::Tensor eigenvalues = 100 * at::pow(0.9, at::arange(200, at::kDouble));
  eigenvalues[0] = 1e10;
  const Known a = known(eigenvalues);
  const Operator apply(a.matrix);
  auto pairs = rayleigh_ritz(apply, scrambled(200, block_size(200, 10), 1, at::kCPU), 10);
  for (int round = 0; round < 6; ++round) {
    const auto filtered = filter(apply, *pairs, 1e4, round == 0);
    ASSERT_TRUE(filtered);
    pairs = rayleigh_ritz(apply, filtered->block, 10);
    ASSERT_TRUE(pairs);
  }
  const at::Tensor gram = at::mm(pairs->vectors.t(), pairs->vectors);
  EXPECT_LT((gram - at::eye(26, at::kDouble)).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(at::allclose(pairs->values.slice(0, 1, 10), a.values.slice(0, 1, 10), 1e-7, 0));
  EXPECT_EQ(pairs->largest, pairs->values[0].item<double>());
  EXPECT_EQ(pairs->smallest, pairs->values[9].item<double>());
  EXPECT_EQ(pairs->beyond, pairs->values[25].item<double>());
  EXPECT_NEAR(pairs->sum, pairs->top_values().sum().item<double>(), 1e-5);
}

TEST(SubspaceIteration, MatrixAndFunctionAreTheSameOperator) {
  at::manual_seed(19);
  const Known a = known(60);
  const Operator matrix(a.matrix);
  const Operator function([&](const at::Tensor& y) { return at::mm(a.matrix, y); });
  const at::Tensor before = at::randn({60, 5}, at::kDouble);
  const at::Tensor now = at::randn({60, 5}, at::kDouble);
  const at::Tensor expected = (at::mm(a.matrix, now) * 0.3 - now) * 2 - before;
  EXPECT_TRUE(at::allclose(matrix.next(before.clone(), now, 0.3), expected, 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(function.next(before.clone(), now, 0.3), expected, 1e-12, 1e-12));
  const at::Tensor shifted = (at::mm(a.matrix, now) * 0.3 - now * 1.7) * 2 - before;
  EXPECT_TRUE(at::allclose(matrix.next(before.clone(), now, 0.3, 1.7), shifted, 1e-12, 1e-12));
  EXPECT_TRUE(at::allclose(function.next(before.clone(), now, 0.3, 1.7), shifted, 1e-12, 1e-12));
  EXPECT_TRUE(at::equal(matrix(now), function(now)));
}

// The block ends at 0.96 of the 10th value, so a power iteration would need a product for every
// factor 1.04 of gain; a polynomial of degree 24 is worth 24 products and gains as much as 200.
TEST(SubspaceIteration, FlatSpectrumNeedsFewProducts) {
  at::manual_seed(13);
  const Known a = known(400);
  const Operator apply(a.matrix);
  const at::Tensor allowances = at::full({10}, 1e-5 * 400, at::kDouble);
  auto pairs = rayleigh_ritz(apply, apply(scrambled(400, 26, 1, at::kCPU)), 10);
  EXPECT_GT(shortfall(*pairs, allowances), 1);
  std::int64_t products = 2;
  for (int round = 0; round < 5 && shortfall(*pairs, allowances) > 1; ++round) {
    const auto filtered = filter(apply, *pairs, 1e4, round == 0);
    products += filtered->degree;
    pairs = rayleigh_ritz(apply, filtered->block, 10);
  }
  EXPECT_LE(shortfall(*pairs, allowances), 1);
  EXPECT_LT(products, 80);
  EXPECT_NEAR(pairs->sum, 3955, 1e-5 * 3955);
}

TEST(SubspaceIteration, AFailingEigenproblemIsANumericalError) {
  const at::Tensor bad = at::full({5, 5}, std::nan(""), at::kDouble);
  EXPECT_THAT(error_of<core::NumericalError>([&] { eigenpairs(bad); }),
              HasSubstr("syevd failed on a matrix [5, 5]"));
}

TEST(SubspaceIteration, RankBelowTheBlockIsHandled) {
  at::manual_seed(14);
  at::Tensor eigenvalues = at::arange(200, 0, -1, at::kDouble);
  eigenvalues.narrow(0, 14, 186).zero_();
  const Known a = known(eigenvalues);
  const Operator apply(a.matrix);
  const at::Tensor start = scrambled(200, 26, 1, at::kCPU);
  auto pairs = rayleigh_ritz(apply, start, 10);
  pairs = rayleigh_ritz(apply, filter(apply, *pairs, 1e6, true)->block, 10);
  pairs = rayleigh_ritz(apply, filter(apply, *pairs, 1e6, false)->block, 10);
  EXPECT_TRUE(at::allclose(pairs->top_values(), a.values.narrow(0, 0, 10), 1e-9, 0));
}

}  // namespace
}  // namespace corda::linalg
