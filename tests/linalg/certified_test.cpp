// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The certified routes against the exact ones, and their proofs against planted errors.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/core/error.h"
#include "corda/linalg/spectrum.h"
#include "linalg/certificate.h"
#include "linalg/lanczos.h"
#include "linalg/layers.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::covariance_of;
using ::corda::testing::energy;
using ::corda::testing::error_of;
using ::corda::testing::layer_cases;
using ::corda::testing::LayerCase;
using ::corda::testing::orthogonal;
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
    EXPECT_NEAR(found.total, exact.total, 1e-10 * exact.total);
    const at::Tensor gram = at::mm(found.vectors.t(), found.vectors);
    EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-12);
    // Only a W without full rank has no inverse.
    if (which == Which::kLargest || c.rank == 0) {
      EXPECT_THAT(found.route, HasSubstr("lanczos"));
    } else {
      EXPECT_NE(found.refused, "");
      EXPECT_EQ(found.bound, 1);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, Certified, ::testing::ValuesIn(layer_cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(CertifiedSubspace, ShortBasisIsRefusedAndDoneExactly) {
  at::manual_seed(4);
  const LayerCase c = {"square", 320, 320};
  const at::Tensor w = weight_of(c);
  DampedCovariance covariance(covariance_of(c), 0.01);
  const Spectrum exact = left_singular_subspace(w, covariance.matrix(), kRank, Which::kSmallest);
  const Spectrum found = certified_subspace(w, covariance, kRank, Which::kSmallest,
                                            {.smallest_size = 64, .basis_limit = 24});
  EXPECT_THAT(found.refused, StartsWith("no proof after 24 Krylov columns"));
  EXPECT_TRUE(at::equal(found.vectors, exact.vectors));
  const Spectrum forced =
      certified_subspace(w, covariance, kRank, Which::kSmallest, {.exact = true});
  EXPECT_EQ(forced.refused, "");
  EXPECT_TRUE(at::equal(forced.vectors, exact.vectors));
}

TEST(CertifiedSubspace, LayersOfASiteShareOneFactorisation) {
  at::manual_seed(5);
  const LayerCase c = {"square", 320, 320};
  DampedCovariance covariance(covariance_of(c), 0.01);
  for (int layer = 0; layer < 3; ++layer)
    certified_subspace(weight_of(c), covariance, kRank, Which::kSmallest, kFast);
  EXPECT_EQ(covariance.factorisations(), 1);
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
    EXPECT_EQ(found.route, "cholesky-lanczos");
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

// A with eigenvalues n, n - 1, ... 1 and its eigenvectors, the first belonging to the largest.
struct Known {
  at::Tensor matrix;
  at::Tensor vectors;
  at::Tensor values;
};

Known known(std::int64_t n) {
  Known result;
  result.vectors = orthogonal(n);
  result.values = at::arange(n, 0, -1, at::kDouble);
  result.matrix = at::mm(result.vectors * result.values, result.vectors.t());
  return result;
}

bool passes(const Known& a, const at::Tensor& u, const at::Tensor& values, double margin) {
  const at::Tensor lifted = values * (1 + margin);
  return dominates(a.matrix, u, lifted, lifted[values.size(0) - 1].item<double>());
}

TEST(Certificate, TrueSubspacePassesAndPlantedOnesDoNot) {
  at::manual_seed(8);
  const Known a = known(120);
  constexpr std::int64_t r = 10;
  const at::Tensor u = a.vectors.narrow(1, 0, r);
  const at::Tensor values = a.values.narrow(0, 0, r);
  EXPECT_TRUE(passes(a, u, values, 1e-3));
  // The best direction left out, the next one in: a perfectly converged, perfectly wrong result.
  EXPECT_FALSE(passes(a, a.vectors.narrow(1, 1, r), a.values.narrow(0, 1, r), 1e-3));
  // One direction in the middle exchanged for a random one, with its own Rayleigh quotient.
  at::Tensor wrong = u.clone();
  wrong.select(1, 5).copy_(a.vectors.select(1, 80));
  const at::Tensor quotients = (wrong * at::mm(a.matrix, wrong)).sum({0});
  EXPECT_FALSE(passes(a, wrong, quotients.clamp_min(quotients[r - 1].item<double>()), 1e-3));
  // The best direction turned by 0.1: its quotient misses 0.35 % of the eigenvalue.
  at::Tensor turned = u.clone();
  turned.select(1, 0).copy_(std::cos(0.1) * u.select(1, 0) +
                            std::sin(0.1) * a.vectors.select(1, 80));
  EXPECT_FALSE(passes(a, turned, (turned * at::mm(a.matrix, turned)).sum({0}), 1e-3));
  EXPECT_FALSE(passes(a, u, values * 0.99, 1e-3)) << "values below the true ones";
}

TEST(Certificate, TieAtTheCutPasses) {
  at::manual_seed(9);
  Known a = known(120);
  a.values.narrow(0, 8, 6).fill_(a.values[8].item<double>());  // the 9th to the 14th are equal
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  // Of the six equal directions any two will do.
  const at::Tensor u = at::cat({a.vectors.narrow(1, 0, 8), a.vectors.narrow(1, 11, 2)}, 1);
  EXPECT_TRUE(passes(a, u, a.values.narrow(0, 0, 10), 1e-3));
}

TEST(Certificate, NormBoundCoversTheNorm) {
  for (const std::int64_t rank : {1, 5, 200}) {
    at::manual_seed(10);
    const at::Tensor e =
        at::mm(at::randn({200, rank}, at::kDouble), at::randn({rank, 200}, at::kDouble));
    const at::Tensor p = scrambled(200, 16, 2, at::kCPU);
    const double norm = at::linalg_norm(e).item<double>();
    const double bound = norm_bound(at::mm(e, p), p);
    EXPECT_GE(bound, norm) << rank;
    EXPECT_LE(bound, 4 * norm) << rank;
  }
}

TEST(Lanczos, StaysOrthonormalUnderAnOutlierOf1e8) {
  at::manual_seed(11);
  Known a = known(200);
  a.values = 100 * at::pow(0.9, at::arange(200, at::kDouble));
  a.values[0] = 1e10;
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  BlockLanczos lanczos([&](const at::Tensor& y) { return at::mm(a.matrix, y); }, 200, 8, 160,
                       at::kCPU);
  ASSERT_TRUE(lanczos.extend_to(160));
  const RitzPairs pairs = lanczos.largest(10);
  const at::Tensor gram = at::mm(pairs.vectors.t(), pairs.vectors);
  EXPECT_LT((gram - at::eye(10, at::kDouble)).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(at::allclose(pairs.values.slice(0, 1), a.values.slice(0, 1, 10), 1e-7, 0));
}

TEST(Lanczos, ScrambledNumbersAreCentredAndOfVarianceOneThird) {
  const at::Tensor x = scrambled(1000, 64, 1, at::kCPU);
  EXPECT_EQ(x.sizes(), at::IntArrayRef({1000, 64}));
  EXPECT_NEAR(x.mean().item<double>(), 0, 0.01);  // four standard errors
  EXPECT_NEAR(x.square().mean().item<double>(), 1.0 / 3, 0.005);
  EXPECT_LE(x.abs().max().item<double>(), 1);
  EXPECT_FALSE(at::equal(x, scrambled(1000, 64, 2, at::kCPU)));
  EXPECT_LT(at::mm(x.t(), x).fill_diagonal_(0).abs().max().item<double>(), 1000.0 / 3 * 0.2);
}

}  // namespace
}  // namespace corda::linalg
