// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/adapter/spectrum.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/random_tensor.h"

namespace corda::adapter {
namespace {

using corda::testing::error_of;
using corda::testing::random_tensor;

// An update with the singular values 8, 4, 2, 1 and a scale of 2 outside of it.
LayerAdapter known() {
  const auto [u, s, v] = at::linalg_svd(random_tensor({7, 5}, 1).to(at::kDouble), false);
  const at::Tensor values = at::tensor({4.0, 2.0, 1.0, 0.5}, at::kDouble);
  LayerAdapter layer;
  layer.b = (u.narrow(1, 0, 4) * values).to(at::kFloat);
  layer.a = v.narrow(0, 0, 4).to(at::kFloat);
  return layer;
}

at::Tensor update(const LayerAdapter& layer, double scale) {
  const Factors factors = exported_factors(layer);
  return at::mm(factors.b.to(at::kDouble), factors.a.to(at::kDouble)) * scale;
}

TEST(Spectrum, IsThatOfTheUpdateAndItsNormTheRootOfItsSquares) {
  const std::vector<double> values = update_spectrum(known(), 2);
  ASSERT_EQ(values.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(values[i], 8.0 / (1 << i), 1e-5) << i;
  EXPECT_NEAR(update_norm(known(), 2), std::sqrt(85.0), 1e-5);
  EXPECT_NEAR(update_norm(known(), -2), std::sqrt(85.0), 1e-5);
}

TEST(Spectrum, OfAnAdapterThatSubtractsItsStartIsThatOfTheDifference) {
  LayerAdapter layer = known();
  layer.a0 = layer.a.clone();
  layer.b0 = layer.b.clone();
  EXPECT_EQ(update_norm(layer, 3), 0);
  layer.b = layer.b + random_tensor({7, 4}, 3);
  EXPECT_NEAR(update_norm(layer, 3), update(layer, 3).norm().item<double>(), 1e-5);
  EXPECT_EQ(update_spectrum(layer, 3).size(), 5U);  // of a [7, 5] update, though 8 are stored
}

TEST(Compress, KeepsTheLargestSingularValuesAndSaysWhatWasLost) {
  for (const std::int64_t rank : {1, 2, 3}) {
    const Compressed small = compress(known(), 2, rank);
    EXPECT_EQ(small.layer.rank(), rank);
    const double lost = (update(known(), 2) - update(small.layer, 1)).norm().item<double>();
    EXPECT_NEAR(small.relative_error, lost / std::sqrt(85.0), 1e-5) << rank;
    EXPECT_NEAR(small.relative_error,
                std::sqrt(85.0 - 64 - (rank > 1 ? 16 : 0) - (rank > 2 ? 4 : 0)) / std::sqrt(85.0),
                1e-6);
    EXPECT_NEAR(small.layer.a.norm().item<double>(), small.layer.b.norm().item<double>(), 1e-5);
  }
}

TEST(Compress, AHighEnoughRankLosesNothing) {
  LayerAdapter layer = known();
  layer.a0 = random_tensor({4, 5}, 5);
  layer.b0 = random_tensor({7, 4}, 6);
  const Compressed same = compress(layer, 0.5, 64);
  EXPECT_LT(same.relative_error, 1e-15);
  EXPECT_LE((update(layer, 0.5) - update(same.layer, 1)).abs().max().item<double>(), 1e-5);
  LayerAdapter zero = known();
  zero.b.zero_();
  EXPECT_EQ(compress(zero, 1, 2).relative_error, 0);
}

TEST(Compress, RefusesWhatHasNoSmallerRank) {
  LayerAdapter dora = known();
  dora.magnitude = at::ones({7});
  EXPECT_EQ(error_of<core::ConfigError>([&] { compress(dora, 1, 2); }),
            "a DoRA has no smaller rank, since its rows are rescaled by norms that depend on the "
            "base; merge it instead");
  EXPECT_EQ(error_of<core::ConfigError>([] { compress(known(), 1, 0); }),
            "the rank must be 1 or more; it is 0");
}

}  // namespace
}  // namespace corda::adapter
