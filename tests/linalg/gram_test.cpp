// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "linalg/gram.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace corda::linalg {
namespace {

constexpr std::int64_t kSummed = 19;  // products in an entry

void expect_gram(const at::Tensor& gram, const at::Tensor& rows) {
  const at::Tensor fp64 = rows.to(at::kDouble);
  const at::Tensor difference = gram.to(at::kDouble) - at::mm(fp64, fp64.t());
  // Rounding of a sum of kSummed products: as many eps at most of the sum of their magnitudes
  // (Cauchy and Schwarz), on both sides.
  const double eps = gram.scalar_type() == at::kFloat ? std::numeric_limits<float>::epsilon()
                                                      : std::numeric_limits<double>::epsilon();
  const double magnitudes = fp64.square().sum({1}).max().item<double>();
  EXPECT_LE(difference.abs().max().item<double>(), 2 * kSummed * eps * magnitudes);
  if (gram.size(0) >= 1024) {
    EXPECT_TRUE(at::equal(gram, gram.t()));
  }
}

class Gram : public ::testing::TestWithParam<std::int64_t> {};

TEST_P(Gram, EqualsThePlainProductInFp64) {
  at::manual_seed(20);
  const at::Tensor a = at::randn({GetParam(), kSummed}, at::kDouble);
  for (const auto type : {at::kDouble, at::kFloat}) {
    SCOPED_TRACE(at::toString(type));
    const at::Tensor rows = a.to(type);
    expect_gram(gram_of_rows(rows), rows);
    expect_gram(gram_of_columns(rows.t().contiguous()), rows);
  }
}

// One product up to 1023 rows, then four panels, mirrored in blocks of 1024: sizes that panels
// divide and do not divide, with one block, a second of a single row, and a third of three.
INSTANTIATE_TEST_SUITE_P(Rows, Gram, ::testing::Values(1, 1023, 1024, 1025, 2051),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace corda::linalg
