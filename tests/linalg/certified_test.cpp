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
#include "linalg/layers.h"
#include "linalg/numbers.h"
#include "linalg/orthonormal.h"
#include "linalg/split.h"
#include "linalg/subspace_iteration.h"
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
    // The largest come from products in fp32.
    EXPECT_NEAR(found.total, exact.total, (which == Which::kSmallest ? 1e-10 : 1e-6) * exact.total);
    const at::Tensor gram = at::mm(found.vectors.t(), found.vectors);
    EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-12);
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
    const double norm = at::linalg_norm(e).item<double>();
    const double bound = norm_bound(at::mm(e, probes(200, at::kCPU)));
    EXPECT_GE(bound, norm) << rank;
    EXPECT_LE(bound, 3 * norm) << rank;
  }
}

// A chi-square number of 64 degrees of freedom has a mean of 64 and a deviation of 11: an estimate
// from rank one, the worst case, is within half of the truth even in 20 000 tries.
TEST(Certificate, NormBoundHoldsForTwentyThousandDirections) {
  at::manual_seed(12);
  const at::Tensor directions = at::randn({20000, 50}, at::kDouble);
  const at::Tensor images = at::mm(directions, probes(50, at::kCPU));
  const at::Tensor estimates = images.square().mean(at::IntArrayRef{1}).sqrt() /
                               at::linalg_vector_norm(directions, 2, at::IntArrayRef{1});
  EXPECT_GT(estimates.min().item<double>(), 0.5);
  EXPECT_LT(estimates.max().item<double>(), 1.5);
}

Operator operator_of(const at::Tensor& matrix) {
  return [matrix](const at::Tensor& y) { return at::mm(matrix, y); };
}

TEST(SubspaceIteration, StaysOrthonormalUnderAnOutlierOf1e8) {
  at::manual_seed(11);
  Known a = known(200);
  a.values = 100 * at::pow(0.9, at::arange(200, at::kDouble));
  a.values[0] = 1e10;
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  SubspaceIteration iteration(operator_of(a.matrix), 200, 10, at::kCPU);
  ASSERT_TRUE(iteration.start());
  for (int round = 0; round < 6; ++round) ASSERT_TRUE(iteration.filter(1e4));
  const RitzPairs& pairs = iteration.pairs();
  const at::Tensor gram = at::mm(pairs.vectors.t(), pairs.vectors);
  EXPECT_LT((gram - at::eye(26, at::kDouble)).abs().max().item<double>(), 1e-12);
  EXPECT_TRUE(at::allclose(pairs.values.slice(0, 1, 10), a.values.slice(0, 1, 10), 1e-7, 0));
  EXPECT_EQ(pairs.largest, pairs.values[0].item<double>());
  EXPECT_EQ(pairs.smallest, pairs.values[9].item<double>());
  EXPECT_EQ(pairs.beyond, pairs.values[25].item<double>());
}

// The filter's degree is what its gain asks for: a power iteration would need some 60 products for
// the same.
TEST(SubspaceIteration, FlatSpectrumNeedsFewProducts) {
  at::manual_seed(13);
  const Known a = known(400);  // the block ends at 0.94 of the 10th value
  SubspaceIteration iteration(operator_of(a.matrix), 400, 10, at::kCPU);
  ASSERT_TRUE(iteration.start());
  const at::Tensor allowances = at::full({10}, 1e-5 * 400, at::kDouble);
  EXPECT_GT(iteration.shortfall(allowances), 1);
  while (iteration.shortfall(allowances) > 1 && iteration.applications() < 100)
    ASSERT_TRUE(iteration.filter(1e3));
  EXPECT_LT(iteration.applications(), 45);
  const double sum = iteration.pairs().top_values(10).sum().item<double>();
  EXPECT_NEAR(sum, 3955, 1e-5 * 3955);
}

TEST(SubspaceIteration, RankBelowTheBlockIsHandled) {
  at::manual_seed(14);
  Known a = known(200);
  a.values.narrow(0, 14, 186).zero_();
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  SubspaceIteration iteration(operator_of(a.matrix), 200, 10, at::kCPU);
  ASSERT_TRUE(iteration.start());
  iteration.filter(1e3);
  EXPECT_TRUE(at::allclose(iteration.pairs().top_values(10), a.values.narrow(0, 0, 10), 1e-9, 0));
}

TEST(Orthonormal, DependentColumnsAreReported) {
  at::manual_seed(15);
  const at::Tensor z = at::randn({50, 6}, at::kDouble);
  const auto basis = orthonormal(z);
  ASSERT_TRUE(basis);
  EXPECT_LT((at::mm(basis->t(), *basis) - at::eye(6, at::kDouble)).abs().max().item<double>(),
            1e-14);
  // The same space.
  EXPECT_LT((z - at::mm(*basis, at::mm(basis->t(), z))).abs().max().item<double>(), 1e-13);
  at::Tensor empty = z.clone();
  empty.select(1, 2).fill_(std::nan(""));
  EXPECT_FALSE(orthonormal(empty));
}

TEST(Split, PiecesAddUpAndProductsAreRightTo2ToTheMinus16) {
  at::manual_seed(16);
  const at::Tensor a = at::randn({60, 300}, at::kDouble);
  const at::Tensor b = at::randn({300, 50}, at::kDouble);
  const Pieces pieces = bf16_pieces_of(a);
  ASSERT_EQ(pieces.size(), 3U);
  at::Tensor sum = at::zeros_like(a);
  for (const auto& piece : pieces) {
    EXPECT_EQ(piece.scalar_type(), at::kBFloat16);
    sum += piece.to(at::kDouble);
  }
  // 24 bits of fp32, of which the pieces hold all but the last one or two.
  EXPECT_LT(((sum - a) / a).abs().max().item<double>(), 4 * std::pow(2.0, -24));
  const auto error = [](const at::Tensor& found, const at::Tensor& expected) {
    return (at::linalg_norm(found.to(at::kDouble) - expected) / at::linalg_norm(expected))
        .item<double>();
  };
  // What is left out is of the order 2^-24 of each product, and sums are in fp32.
  EXPECT_LT(error(multiply(pieces, bf16_pieces_of(b)), at::mm(a, b)), 1e-6);
  const at::Tensor gram = multiply_by_transpose(pieces);
  EXPECT_TRUE(at::equal(gram, gram.t()));
  EXPECT_LT(error(gram, at::mm(a, a.t())), 1e-6);
  // 16-bit matrices lose nothing.
  const at::Tensor half = a.to(at::kHalf);
  const Pieces halves = bf16_pieces_of(half);
  ASSERT_EQ(halves.size(), 2U);
  EXPECT_TRUE(at::equal(halves[0].to(at::kFloat) + halves[1].to(at::kFloat), half.to(at::kFloat)));
  EXPECT_EQ(bf16_pieces_of(a.to(at::kBFloat16)).size(), 1U);
}

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
