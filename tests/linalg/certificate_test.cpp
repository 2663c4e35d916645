// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The proofs, against planted errors.
#include "linalg/certificate.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "corda/core/error.h"
#include "linalg/known.h"
#include "linalg/subspace_iteration.h"

namespace corda::linalg {
namespace {

using ::corda::testing::Known;
using ::corda::testing::known;

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
  at::Tensor eigenvalues = at::arange(120, 0, -1, at::kDouble);
  eigenvalues.narrow(0, 8, 6).fill_(112);  // the 9th to the 14th are equal
  const Known a = known(eigenvalues);
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

RitzPairs pairs_of(const Known& a, const at::Tensor& vectors, std::int64_t r) {
  return *rayleigh_ritz(Operator(a.matrix), vectors, r);
}

TEST(Complement, BoundCoversTheLargestEigenvalueAndComesDownToEnough) {
  at::manual_seed(17);
  const Known a = known(300);  // 300, 299, ... 1
  // The block lacks the 3rd direction, or none of its own.
  for (const std::int64_t missing : {std::int64_t{2}, std::int64_t{40}}) {
    SCOPED_TRACE(missing);
    const at::Tensor z = at::cat(
        {a.vectors.narrow(1, 0, missing), a.vectors.narrow(1, missing + 1, 40 - missing)}, 1);
    const double bound = complement_bound(Operator(a.matrix), z, 261, 275);
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

// A NaN compares false with everything, so a check that asks whether something is wrong lets it
// pass.
TEST(Certificate, ANaNAnywhereProvesNothing) {
  at::manual_seed(12);
  const double nan = std::nan("");
  const Known a = known(120);
  constexpr std::int64_t r = 10;
  const at::Tensor u = a.vectors.narrow(1, 0, r);
  const at::Tensor values = a.values.narrow(0, 0, r) * 1.01;
  const double rest = values[r - 1].item<double>();
  ASSERT_TRUE(dominates(a.matrix, u, values, rest));
  const auto spoiled = [&](const at::Tensor& tensor) {
    at::Tensor copy = tensor.clone(at::MemoryFormat::Contiguous);
    copy.view({-1})[7] = nan;
    return copy;
  };
  EXPECT_FALSE(dominates(spoiled(a.matrix), u, values, rest));
  EXPECT_FALSE(dominates(a.matrix, spoiled(u), values, rest));
  EXPECT_FALSE(dominates(a.matrix, u, spoiled(values), rest));
  EXPECT_FALSE(dominates(a.matrix, u, values, nan));

  const Operator apply(a.matrix);
  const auto pairs = rayleigh_ritz(apply, a.vectors.narrow(1, 0, 30), r);
  ASSERT_TRUE(pairs.has_value());
  ASSERT_TRUE(residuals_allow(*pairs, 0.5, 90.5));
  EXPECT_FALSE(residuals_allow(*pairs, nan, 90.5));
  EXPECT_FALSE(residuals_allow(*pairs, 0.5, nan));
  RitzPairs wrong = *pairs;
  wrong.images = spoiled(pairs->images);
  EXPECT_FALSE(residuals_allow(wrong, 0.5, 90.5));
  wrong = *pairs;
  wrong.values = spoiled(pairs->values);
  EXPECT_FALSE(residuals_allow(wrong, 0.5, 90.5));

  EXPECT_EQ(complement_bound(Operator(spoiled(a.matrix)), u, 110, 115), INFINITY);
  EXPECT_TRUE(std::isnan(norm_bound(spoiled(u))));
}

// The part outside a layer of low rank is rounding, of either sign.
TEST(Certificate, WithoutAPositiveScaleTheComplementIsNotBounded) {
  at::manual_seed(12);
  const Known a = known(120);
  const at::Tensor u = a.vectors.narrow(1, 0, 10);
  for (const double expected : {0.0, -1e-12, std::nan("")})
    EXPECT_EQ(complement_bound(Operator(a.matrix), u, expected, 115), INFINITY) << expected;
}

TEST(Certificate, OnlyFiniteResultsWithinTheBoundAreProved) {
  const double nan = std::nan("");
  const Spectrum sound = {.vectors = at::eye(3, at::kDouble),
                          .values = at::ones({3}, at::kDouble),
                          .total = 2,
                          .route = "r",
                          .bound = 0.999995,
                          .refused = {}};
  EXPECT_EQ(unproved(sound, kLargestBound, 1), "");
  Spectrum found = sound;
  for (const double bound : {0.9999, 1.1, nan, static_cast<double>(INFINITY)}) {
    found.bound = bound;
    EXPECT_EQ(unproved(found, kLargestBound, 1),
              core::concat("the energy is proved only to ", bound, " of the optimum"));
  }
  for (const auto& spoil : std::vector<std::function<void(Spectrum&)>>{
           [&](Spectrum& s) {
             s.vectors = at::full({3, 3}, nan);
           },
           [&](Spectrum& s) { s.values = at::full({3}, nan); },
           [&](Spectrum& s) { s.values = at::full({3}, INFINITY); },
           [&](Spectrum& s) { s.total = nan; }}) {
    found = sound;
    spoil(found);
    EXPECT_EQ(unproved(found, kLargestBound, 1), "a number found is not finite");
  }
}

}  // namespace
}  // namespace corda::linalg
