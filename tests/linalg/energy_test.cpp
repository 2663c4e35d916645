// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/energy.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/random_tensor.h"

namespace corda::linalg {
namespace {

using corda::testing::error_of;
using corda::testing::random_tensor;

at::Tensor covariance(std::int64_t n) {
  const at::Tensor inputs = random_tensor({n + 3, n}, 7);
  const at::Tensor c = at::mm(inputs.t(), inputs);
  return (c + c.t()) / 2;  // sums in another order are not symmetric to the last bit
}

// Sizes below and above a panel, rows and columns.
TEST(Energy, IsTheTraceAndSandwichTheMatrixOfTheDefinition) {
  for (const auto& [rows, n] : {std::pair(5, 9), std::pair(1030, 40), std::pair(3, 1100)}) {
    const at::Tensor c = covariance(n);
    const at::Tensor x = random_tensor({rows, n}, 2);
    const at::Tensor wide = x.to(at::kDouble);
    const at::Tensor expected = at::mm(at::mm(wide, c.to(at::kDouble)), wide.t());
    const double trace = expected.trace().item<double>();
    EXPECT_NEAR(energy(x, c), trace, 1e-12 * trace) << n;
    EXPECT_LE((sandwich(x, c) - expected).abs().max().item<double>(),
              1e-12 * expected.abs().max().item<double>())
        << n;
  }
}

TEST(Energy, RefusesACovarianceOfOtherInputs) {
  EXPECT_EQ(error_of<core::ShapeError>([] {
              energy(at::ones({2, 3}), at::ones({4, 4}));
            }),
            "a matrix [2, 3] needs a covariance of its 3 columns; it is [4, 4]");
  EXPECT_EQ(error_of<core::ShapeError>([] {
              sandwich(at::ones({2, 3}), at::ones({3, 4}));
            }),
            "a matrix [2, 3] needs a covariance of its 3 columns; it is [3, 4]");
}

}  // namespace
}  // namespace corda::linalg
