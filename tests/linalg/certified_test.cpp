// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The certified routes against the exact ones.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "corda/linalg/spectrum.h"
#include "linalg/layers.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::covariance_of;
using ::corda::testing::energy;
using ::corda::testing::error_of;
using ::corda::testing::layer_cases;
using ::corda::testing::LayerCase;
using ::corda::testing::weight_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::int64_t kRank = 16;
const SubspaceOptions kFast = {.smallest_size = 64};

class Certified : public ::testing::TestWithParam<LayerCase> {};

TEST_P(Certified, EnergyAndBoundHoldAgainstTheExactRoute) {
  at::manual_seed(3);
  const LayerCase& c = GetParam();
  const at::Tensor w = weight_of(c);
  DampedCovariance covariance(covariance_of(c), 0.01);
  const at::Tensor m = at::mm(w, covariance.matrix());
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    const Spectrum exact = left_singular_subspace(w, covariance.matrix(), kRank, which);
    const Spectrum found = certified_subspace(w, covariance, kRank, which, kFast);
    SCOPED_TRACE(found.route + " " + found.refused);
    const double optimum = at::linalg_norm(exact.values).item<double>();
    // Rounding of the products themselves.
    const double noise = 1e-13 * exact.total;
    const double reached = energy(found.vectors, m);
    if (which == Which::kSmallest) {
      EXPECT_LE(reached, kSmallestBound * optimum + noise);
      EXPECT_LE(reached, found.bound * optimum * (1 + 1e-9) + noise) << "the bound is not true";
    } else {
      EXPECT_GE(reached, kLargestBound * optimum - noise);
      EXPECT_GE(reached, found.bound * optimum * (1 - 1e-9) - noise) << "the bound is not true";
    }
    EXPECT_NEAR(at::linalg_norm(found.values).item<double>(), reached, 1e-9 * reached + noise);
    // The largest come from products in fp32.
    EXPECT_NEAR(found.total, exact.total, (which == Which::kSmallest ? 1e-10 : 1e-6) * exact.total);
    const at::Tensor gram = at::mm(found.vectors.t(), found.vectors);
    EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-12);
    if (which == Which::kLargest) {
      // The fast proof needs a gap behind the r-th value, the other one does not.
      const bool tie = c.spectrum == LayerCase::Spectrum::kRepeatedTop;
      EXPECT_EQ(found.route, tie ? "gram-chebyshev" : "fast-gram-chebyshev");
    }
    // Only a W without full rank has no inverse.
    if (which == Which::kLargest || c.rank == 0) {
      EXPECT_THAT(found.route, HasSubstr("chebyshev"));
    } else {
      EXPECT_NE(found.refused, "");
      EXPECT_EQ(found.bound, 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, Certified, ::testing::ValuesIn(layer_cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(CertifiedSubspace, ShortIterationIsRefusedAndDoneExactly) {
  at::manual_seed(4);
  const LayerCase c = {"square", 320, 320};
  const at::Tensor w = weight_of(c);
  DampedCovariance covariance(covariance_of(c), 0.01);
  const Spectrum exact = left_singular_subspace(w, covariance.matrix(), kRank, Which::kSmallest);
  const Spectrum found = certified_subspace(w, covariance, kRank, Which::kSmallest,
                                            {.smallest_size = 64, .application_limit = 2});
  EXPECT_THAT(found.refused, StartsWith("no proof after 2 products with the block"));
  EXPECT_TRUE(at::equal(found.vectors, exact.vectors));
  const Spectrum forced =
      certified_subspace(w, covariance, kRank, Which::kSmallest, {.exact = true});
  EXPECT_EQ(forced.refused, "");
  EXPECT_TRUE(at::equal(forced.vectors, exact.vectors));
}

// One singular value is 5e-7 of the next, so that rounding of the inverse is beyond what a proof
// has to spare, whatever the residuals are.
TEST(CertifiedSubspace, AProofThatRoundingForbidsIsNotTriedForLong) {
  at::manual_seed(14);
  constexpr std::int64_t kSize = 320;
  const auto fp64 = at::TensorOptions().dtype(at::kDouble);
  at::Tensor values = at::logspace(-2, 0, kSize, /*base=*/10, fp64);
  values[0] = 5e-9;
  const at::Tensor u = std::get<0>(at::linalg_qr(at::randn({kSize, kSize}, fp64)));
  const at::Tensor v = std::get<0>(at::linalg_qr(at::randn({kSize, kSize}, fp64)));
  const at::Tensor w = at::mm(u * values, v.t());
  DampedCovariance covariance(at::eye(kSize, fp64), 0.01);
  int proofs = 0;
  SubspaceOptions options = kFast;
  options.on_phase = [&](const std::string& phase) { proofs += phase == "proof" ? 1 : 0; };
  const Spectrum found = certified_subspace(w, covariance, kRank, Which::kSmallest, options);
  EXPECT_EQ(found.refused, "the proof failed 3 times while residuals fell");
  EXPECT_LE(proofs, 3);
  EXPECT_NEAR(found.values[0].item<double>(), 1.01 * 5e-9, 1e-12);
  EXPECT_EQ(found.bound, 1);
}

TEST(CertifiedSubspace, LayersOfASiteShareOneFactorisation) {
  at::manual_seed(5);
  const LayerCase c = {"square", 320, 320};
  DampedCovariance covariance(covariance_of(c), 0.01);
  for (int layer = 0; layer < 3; ++layer)
    certified_subspace(weight_of(c), covariance, kRank, Which::kSmallest, kFast);
  EXPECT_EQ(covariance.factorisations(), 1);
}

// The shift that lets a singular Gram matrix pass is an error of its own; where it is not needed it
// would cost a second pass.
TEST(CertifiedSubspace, SquareLayersOfFullRankNeedOnePass) {
  for (const auto& c : layer_cases()) {
    if (c.out != c.in || c.rank > 0 || c.spectrum == LayerCase::Spectrum::kFast) continue;
    at::manual_seed(3);
    const at::Tensor w = weight_of(c);
    DampedCovariance covariance(covariance_of(c), 0.01);
    EXPECT_EQ(certified_subspace(w, covariance, kRank, Which::kSmallest, kFast).route,
              "cholesky-inverse-chebyshev")
        << c.name;
  }
}

TEST(CertifiedSubspace, NaNIsRefusedNotReturned) {
  at::manual_seed(6);
  const LayerCase c = {"square", 96, 96};
  at::Tensor w = weight_of(c);
  w[3][4] = std::nan("");
  DampedCovariance covariance(covariance_of(c), 0.01);
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    EXPECT_THAT(
        error_of<core::NumericalError>([&] { certified_subspace(w, covariance, 4, which, kFast); }),
        HasSubstr("holds a NaN"));
  }
}

TEST(CertifiedGeneralisedTop, SumAndBoundHoldAgainstTheExactRoute) {
  at::manual_seed(7);
  for (const bool outlier : {false, true}) {
    SCOPED_TRACE(outlier);
    const at::Tensor task = covariance_of({"task", 1, 320, LayerCase::Spectrum::kDecay, outlier});
    DampedCovariance knowledge(covariance_of({"knowledge", 1, 320}), 0.01);
    const Spectrum exact = generalised_top(task, knowledge.matrix(), kRank);
    const Spectrum found = certified_generalised_top(task, knowledge, kRank, kFast);
    EXPECT_EQ(found.route, "cholesky-chebyshev");
    const double optimum = exact.values.sum().item<double>();
    EXPECT_GE(found.values.sum().item<double>(), kGeneralisedBound * optimum);
    EXPECT_GE(found.values.sum().item<double>(), found.bound * optimum * (1 - 1e-9));
    EXPECT_NEAR(found.total, exact.total, 1e-9 * exact.total);
    const at::Tensor& a = found.vectors;
    const at::Tensor gram = at::mm(a.t(), at::mm(knowledge.matrix(), a));
    EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-10);
    const at::Tensor quotients = (a * at::mm(task, a)).sum({0});
    EXPECT_TRUE(at::allclose(quotients, found.values, 1e-9, 0));
  }
}

// Few distinct inputs, as at the first site of a model whose text has a small vocabulary: rounded
// sums leave eigenvalues on both sides of zero behind the true ones, or below it where sums are cut
// off. The larger noise reaches beyond what the proof allows, so that the largest of its
// eigenvalues have to be found.
TEST(CertifiedGeneralisedTop, ATaskOfLowerRankThanTheAdapterIsProved) {
  constexpr std::int64_t kSize = 400;
  for (const double noise : {1e-7, 3e-7, 1e-6}) {
    for (const double bias : {0.0, 0.5, 1.0}) {
      at::manual_seed(8);
      const at::Tensor inputs = at::randn({40, kSize}, at::kDouble);
      const auto seen = [&](std::int64_t count) {
        const at::Tensor x = inputs.narrow(0, 0, count);
        const at::Tensor c = at::mm(x.t(), x);
        const at::Tensor g = at::randn({kSize, kSize}, at::kDouble);
        const at::Tensor cut = at::mm(g, g.t()) / std::sqrt(kSize);
        return c + ((g + g.t()) * (1 - bias) - cut * bias) * (noise * c.abs().max().item<double>());
      };
      for (const std::int64_t count : {1, 5, 10, 15, 16, 20}) {
        SCOPED_TRACE(at::str(count, " directions, noise ", noise, ", bias ", bias));
        const at::Tensor task = seen(count);
        DampedCovariance knowledge(seen(40), 0.01);
        const Spectrum found = certified_generalised_top(task, knowledge, kRank, kFast);
        const Spectrum exact = generalised_top(task, knowledge.matrix(), kRank);
        EXPECT_EQ(found.refused, "");
        EXPECT_GE(found.bound, kGeneralisedBound);
        const double optimum = exact.values.sum().item<double>();
        EXPECT_GE(found.values.sum().item<double>(), found.bound * optimum * (1 - 1e-9));
      }
    }
  }
}

TEST(CertifiedGeneralisedTop, ATaskWithoutDirectionsIsRefused) {
  DampedCovariance knowledge(at::eye(96, at::kDouble), 0.01);
  at::Tensor not_finite = at::eye(96, at::kDouble);
  not_finite[3][4] = std::nan("");
  at::Tensor one_negative = at::eye(96, at::kDouble);
  one_negative[5][5] = -0.5;
  for (const at::Tensor& task :
       {at::zeros({96, 96}, at::kDouble), -at::eye(96, at::kDouble), not_finite, one_negative}) {
    EXPECT_THAT(error_of<core::NumericalError>(
                    [&] { certified_generalised_top(task, knowledge, 4, kFast); }),
                HasSubstr("the task covariance [96, 96] must be finite with a positive diagonal"));
  }
}

TEST(CertifiedEigenTop, EnergyAndBoundHoldAgainstTheExactRoute) {
  at::manual_seed(11);
  int fast = 0;
  for (const LayerCase& c : layer_cases()) {
    SCOPED_TRACE(c.name);
    const at::Tensor covariance = covariance_of(c);
    if (kRank > covariance.size(0) / 8) continue;
    const Spectrum found = certified_eigen_top(covariance, kRank, kFast);
    const Spectrum exact = eigenvectors(covariance, kRank, Which::kLargest);
    const double optimum = exact.values.sum().item<double>();
    EXPECT_GE(found.values.sum().item<double>(), kGeneralisedBound * optimum);
    EXPECT_GE(found.values.sum().item<double>(), found.bound * optimum * (1 - 1e-9));
    EXPECT_LE(found.values.sum().item<double>(), optimum * (1 + 1e-9));
    EXPECT_NEAR(found.total, exact.total, 1e-9 * exact.total);
    const at::Tensor& v = found.vectors;
    EXPECT_LT((at::mm(v.t(), v) - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-12);
    EXPECT_TRUE(at::allclose((v * at::mm(covariance, v)).sum({0}), found.values, 1e-9, 0));
    fast += found.route == "eigen-chebyshev" ? 1 : 0;
  }
  EXPECT_GT(fast, 3);
}

TEST(CertifiedEigenTop, ACovarianceWithoutDirectionsIsRefused) {
  for (const at::Tensor& c : {at::zeros({96, 96}, at::kDouble), -at::eye(96, at::kDouble)}) {
    EXPECT_THAT(error_of<core::NumericalError>([&] { certified_eigen_top(c, 4, kFast); }),
                HasSubstr("the covariance [96, 96] must be finite with a positive diagonal"));
  }
}

}  // namespace
}  // namespace corda::linalg
