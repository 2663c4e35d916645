// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/orthonormal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace corda::linalg {
namespace {

TEST(Orthonormal, SpansItsColumnsAndReportsZeroAndNaN) {
  at::manual_seed(15);
  const at::Tensor z = at::randn({50, 6}, at::kDouble);
  const auto basis = orthonormal(z);
  ASSERT_TRUE(basis);
  EXPECT_LT((at::mm(basis->t(), *basis) - at::eye(6, at::kDouble)).abs().max().item<double>(),
            1e-14);
  // The same space.
  EXPECT_LT((z - at::mm(*basis, at::mm(basis->t(), z))).abs().max().item<double>(), 1e-13);
  at::Tensor dependent = z.clone();
  dependent.select(1, 4).copy_(z.select(1, 1));
  const auto wider = orthonormal(dependent);
  ASSERT_TRUE(wider);
  EXPECT_LT((at::mm(wider->t(), *wider) - at::eye(6, at::kDouble)).abs().max().item<double>(),
            1e-13);
  EXPECT_LT((dependent - at::mm(*wider, at::mm(wider->t(), dependent))).abs().max().item<double>(),
            1e-12);
  for (const double value : {0.0, std::nan("")}) {
    at::Tensor broken = z.clone();
    broken.select(1, 2).fill_(value);
    EXPECT_FALSE(orthonormal(broken)) << value;
  }
}

}  // namespace
}  // namespace corda::linalg
