// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/tensor.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::io {
namespace {

using corda::testing::error_of;

TEST(Stored, RoundsOnceAndKeepsWhatFits) {
  const at::Tensor value = at::tensor({1.0F, -65504.0F, 65519.0F, 1e-9F});
  const at::Tensor found = stored("w", value, DType::kF16);
  EXPECT_TRUE(at::equal(found, value.to(at::kHalf)));
  EXPECT_EQ(found[2].item<float>(), 65504);  // the nearest
  EXPECT_TRUE(at::equal(stored("w", value, DType::kF32), value));
  EXPECT_TRUE(stored("w", at::ones({3, 2}).t(), DType::kBF16).is_contiguous());
  EXPECT_TRUE(at::equal(stored("n", at::arange(3), DType::kI64), at::arange(3)));
}

TEST(Stored, ANumberThatRoundingWouldMakeInfiniteIsRefusedAndItsTensorNamed) {
  EXPECT_EQ(error_of<core::NumericalError>([] {
              stored("model.norm.weight", at::tensor({1.0F, -70000.0F, 65520.0F}), DType::kF16);
            }),
            "'model.norm.weight' holds 70000, too large for F16, which ends at 65504; write the "
            "model as bf16 or fp32");
  EXPECT_EQ(error_of<core::NumericalError>(
                [] { stored("w", at::tensor({1e300}, at::kDouble), DType::kBF16); }),
            "'w' holds 1e+300, too large for BF16; write the model as fp32");
}

// These infinities are not made by rounding, so they stay.
TEST(Stored, AnInfinityThatWasThereStays) {
  const at::Tensor value = at::tensor({INFINITY, 1.0F});
  EXPECT_TRUE(at::equal(stored("w", value, DType::kF16), value.to(at::kHalf)));
}

}  // namespace
}  // namespace corda::io
