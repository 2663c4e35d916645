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
#include "linalg/dense.h"
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
  for (const at::Tensor& task :
       {at::zeros({96, 96}, at::kDouble), -at::eye(96, at::kDouble), not_finite}) {
    EXPECT_THAT(error_of<core::NumericalError>(
                    [&] { certified_generalised_top(task, knowledge, 4, kFast); }),
                HasSubstr("the task covariance [96, 96] must be finite with a positive diagonal"));
  }
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

Operator operator_of(const at::Tensor& matrix) { return Operator(matrix); }

TEST(SubspaceIteration, StaysOrthonormalUnderAnOutlierOf1e8) {
  at::manual_seed(11);
  Known a = known(200);
  a.values = 100 * at::pow(0.9, at::arange(200, at::kDouble));
  a.values[0] = 1e10;
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  const Operator apply = operator_of(a.matrix);
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
  Known a = known(200);
  a.values.narrow(0, 14, 186).zero_();
  a.matrix = at::mm(a.vectors * a.values, a.vectors.t());
  const Operator apply = operator_of(a.matrix);
  const at::Tensor start = scrambled(200, 26, 1, at::kCPU);
  auto pairs = rayleigh_ritz(apply, start, 10);
  pairs = rayleigh_ritz(apply, filter(apply, *pairs, 1e6, true)->block, 10);
  pairs = rayleigh_ritz(apply, filter(apply, *pairs, 1e6, false)->block, 10);
  EXPECT_TRUE(at::allclose(pairs->top_values(), a.values.narrow(0, 0, 10), 1e-9, 0));
}

// A block of eigenvectors with what is outside known.
RitzPairs pairs_of(const Known& a, const at::Tensor& vectors, std::int64_t r) {
  return *rayleigh_ritz(operator_of(a.matrix), vectors, r);
}

TEST(Complement, BoundCoversTheLargestEigenvalueAndComesDownToEnough) {
  at::manual_seed(17);
  const Known a = known(300);  // 300, 299, ... 1
  // The block lacks the 3rd direction, or none of its own.
  for (const std::int64_t missing : {std::int64_t{2}, std::int64_t{40}}) {
    SCOPED_TRACE(missing);
    const at::Tensor z = at::cat(
        {a.vectors.narrow(1, 0, missing), a.vectors.narrow(1, missing + 1, 40 - missing)}, 1);
    const double bound = complement_bound(operator_of(a.matrix), z, 261, 275);
    EXPECT_GE(bound, missing == 2 ? 298 : 260);
    if (missing == 40) {
      EXPECT_LE(bound, 276);
    }
  }
}

TEST(Complement, ResidualsAllowConvergedPairsAndNoOthers) {
  at::manual_seed(18);
  const Known a = known(300);
  constexpr std::int64_t r = 10;
  const at::Tensor noise = at::randn({300, 30}, at::kDouble);
  const auto turned = [&](double angle) {
    return pairs_of(a, a.vectors.narrow(1, 0, 30) + noise * angle, r);
  };
  // Residuals of sqrt(300) 1e-4 87, where sqrt(0.01 10) is allowed, and a hundred times that.
  EXPECT_TRUE(residuals_allow(turned(1e-4), 0.01, 275));
  EXPECT_FALSE(residuals_allow(turned(1e-2), 0.01, 275));
  // Exact pairs, whose complement is said to reach beyond the r-th value: nothing can be claimed.
  EXPECT_TRUE(residuals_allow(turned(0), 0.01, 275));
  EXPECT_FALSE(residuals_allow(turned(0), 0.01, 291.5));
  // The claim itself: the sum that it allows is not below the true one.
  const RitzPairs found = turned(1e-3);
  for (const double allowance : {1e-4, 1e-3, 1e-2, 1e-1, 1.0}) {
    if (residuals_allow(found, allowance, 271)) {
      EXPECT_GE(found.sum + r * allowance, 2955) << allowance;
    }
  }
}

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

TEST(Split, PiecesHold16BitsAndSoDoTheirProducts) {
  at::manual_seed(16);
  const at::Tensor a = at::randn({60, 300}, at::kDouble);
  const at::Tensor b = at::randn({300, 50}, at::kDouble);
  const Pieces pieces = bf16_pieces_of(a);
  ASSERT_EQ(pieces.size(), 2U);
  for (const auto& piece : pieces) EXPECT_EQ(piece.scalar_type(), at::kBFloat16);
  const at::Tensor sum = pieces[0].to(at::kDouble) + pieces[1].to(at::kDouble);
  // Each piece is rounded to 8 bits.
  EXPECT_LT(((sum - a) / a).abs().max().item<double>(), std::pow(2.0, -17));
  const auto error = [](const at::Tensor& found, const at::Tensor& expected) {
    return (at::linalg_norm(found.to(at::kDouble) - expected) / at::linalg_norm(expected))
        .item<double>();
  };
  EXPECT_LT(error(multiply(pieces, bf16_pieces_of(b)), at::mm(a, b)), 1e-5);
  EXPECT_GT(error(multiply({pieces[0]}, {b.to(at::kBFloat16)}), at::mm(a, b)), 1e-4)
      << "one piece would have done";
  const at::Tensor gram = multiply_by_transpose(pieces);
  EXPECT_TRUE(at::equal(gram, gram.t()));
  EXPECT_LT(error(gram, at::mm(a, a.t())), 1e-5);
  EXPECT_EQ(bf16_pieces_of(a.to(at::kBFloat16)).size(), 1U);
  EXPECT_EQ(pieces_of(a).size(), 1U);
  EXPECT_EQ(pieces_of(a)[0].scalar_type(), at::kFloat);
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
