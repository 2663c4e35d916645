// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Weights of a lower rank than the adapter, on every route: what is found is finite, carries the
// energy that there is, and says which directions have none.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/linalg/spectrum.h"
#include "linalg/layers.h"

namespace corda::linalg {
namespace {

using ::corda::testing::covariance_of;
using ::corda::testing::energy;
using ::corda::testing::LayerCase;
using ::corda::testing::layers_below_the_rank;
using ::corda::testing::weight_of;
using ::testing::HasSubstr;

constexpr std::int64_t kRank = 16;
const SubspaceOptions kFast = {.smallest_size = 64};
const SubspaceOptions kExact = {.exact = true};

// What rounding leaves of numbers beside ||M|| in sums of some hundred products.
double rounding(const Spectrum& found) { return 1e-12 * found.total; }

// Counts directions without weight as adapter::vanishing_components does.
std::int64_t without_weight(const Spectrum& found, const at::Tensor& w) {
  const double floor = static_cast<double>(std::max(w.size(0), w.size(1))) * 2.3e-16 * found.total;
  return (found.values <= floor).sum().item<std::int64_t>();
}

// Holds for the result of any route that has found r directions of M.
void expect_sound(const Spectrum& found, const at::Tensor& m) {
  EXPECT_TRUE(found.vectors.isfinite().all().item<bool>());
  EXPECT_TRUE(found.values.isfinite().all().item<bool>());
  EXPECT_GE(found.values.min().item<double>(), 0);
  EXPECT_TRUE(std::isfinite(found.bound));
  const at::Tensor gram = at::mm(found.vectors.t(), found.vectors);
  EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-10);
  const double total = at::linalg_norm(m).item<double>();
  EXPECT_NEAR(found.total, total, 1e-6 * total);
  EXPECT_NEAR(at::linalg_norm(found.values).item<double>(), energy(found.vectors, m),
              rounding(found));
}

class BelowTheRank : public ::testing::TestWithParam<LayerCase> {
 protected:
  BelowTheRank() { at::manual_seed(13); }
};

TEST_P(BelowTheRank, TheLargestDirectionsCarryEverythingAndTheOthersNothing) {
  const LayerCase& c = GetParam();
  const at::Tensor w = weight_of(c);
  DampedCovariance covariance(covariance_of(c), 0.01);
  const at::Tensor m = at::mm(w, covariance.matrix());
  for (const SubspaceOptions& options : {kFast, kExact}) {
    const Spectrum found = certified_subspace(w, covariance, kRank, Which::kLargest, options);
    SCOPED_TRACE(found.route + " " + found.refused);
    expect_sound(found, m);
    EXPECT_EQ(found.refused, "");
    EXPECT_THAT(found.route, HasSubstr(options.exact ? "svd" : "gram-chebyshev"));
    EXPECT_GE(found.bound, kLargestBound);
    EXPECT_LE(found.bound, 1);
    EXPECT_NEAR(energy(found.vectors, m), at::linalg_norm(m).item<double>(), rounding(found));
    EXPECT_EQ(without_weight(found, w), kRank - c.rank);
  }
}

TEST_P(BelowTheRank, TheSmallestDirectionsCarryNothing) {
  const LayerCase& c = GetParam();
  const at::Tensor w = weight_of(c);
  DampedCovariance covariance(covariance_of(c), 0.01);
  const at::Tensor m = at::mm(w, covariance.matrix());
  for (const SubspaceOptions& options : {kFast, kExact}) {
    const Spectrum found = certified_subspace(w, covariance, kRank, Which::kSmallest, options);
    SCOPED_TRACE(found.route + " " + found.refused);
    expect_sound(found, m);
    EXPECT_NEAR(energy(found.vectors, m), 0, rounding(found));
    EXPECT_EQ(without_weight(found, w), kRank);
  }
}

TEST_P(BelowTheRank, TheWeightAloneTellsTheSame) {
  const LayerCase& c = GetParam();
  const at::Tensor w = weight_of(c);
  const Spectrum found = svd_top(w, kRank);
  expect_sound(found, w);
  EXPECT_NEAR(energy(found.vectors, w), at::linalg_norm(w).item<double>(), rounding(found));
  EXPECT_EQ(without_weight(found, w), kRank - c.rank);
}

INSTANTIATE_TEST_SUITE_P(Layers, BelowTheRank, ::testing::ValuesIn(layers_below_the_rank()),
                         [](const auto& instance) { return std::string(instance.param.name); });

// Stored in bf16, as the weights that are met: their low rank is exact, down to the last bit.
TEST(LowRank, InBf16TheLargestAreProvedAndTheOthersHaveNoWeight) {
  at::manual_seed(14);
  for (const auto& [out, in] : {std::pair(320, 320), std::pair(640, 256), std::pair(256, 640)}) {
    const at::Tensor w = (at::mm(at::randint(-1, 2, {out, 9}, at::kFloat),
                                 at::one_hot(at::arange(in) % 9).t().to(at::kFloat)) *
                          0x1p-8)
                             .to(at::kBFloat16);
    DampedCovariance covariance(covariance_of({"c", out, in}), 0.01);
    const Spectrum found = certified_subspace(w, covariance, kRank, Which::kLargest, kFast);
    SCOPED_TRACE(at::str(out, " x ", in, " ", found.route, " ", found.refused));
    const at::Tensor m = at::mm(w.to(at::kDouble), covariance.matrix());
    expect_sound(found, m);
    EXPECT_NEAR(energy(found.vectors, m), at::linalg_norm(m).item<double>(), rounding(found));
    EXPECT_EQ(without_weight(found, w), kRank - 9);
  }
}

// Directions beyond the nine rows that are not zero cannot come out of products with the weight.
TEST(LowRank, AWeightWithNineRowsLeftIsDoneExactlyWhereTheFastRouteCannot) {
  at::manual_seed(15);
  for (const auto& [out, in] : {std::pair(320, 320), std::pair(640, 256), std::pair(256, 640)}) {
    at::Tensor w = weight_of({"pruned", out, in});
    w.narrow(0, 9, out - 9).zero_();
    DampedCovariance covariance(covariance_of({"c", out, in}), 0.01);
    const at::Tensor m = at::mm(w, covariance.matrix());
    for (const Which which : {Which::kSmallest, Which::kLargest}) {
      const Spectrum found = certified_subspace(w, covariance, kRank, which, kFast);
      SCOPED_TRACE(at::str(out, " x ", in, " ", found.route, " ", found.refused));
      expect_sound(found, m);
      const double best = which == Which::kSmallest ? 0 : at::linalg_norm(m).item<double>();
      EXPECT_NEAR(energy(found.vectors, m), best, rounding(found));
    }
  }
}

TEST(LowRank, AWeightOfZerosHasDirectionsWithoutWeight) {
  for (const auto& [out, in] : {std::pair(320, 320), std::pair(640, 256), std::pair(256, 640)}) {
    const at::Tensor w = at::zeros({out, in}, at::kBFloat16);
    DampedCovariance covariance(covariance_of({"c", out, in}), 0.01);
    const at::Tensor m = at::zeros({out, in}, at::kDouble);
    for (const SubspaceOptions& options : {kFast, kExact}) {
      for (const Which which : {Which::kSmallest, Which::kLargest}) {
        const Spectrum found = certified_subspace(w, covariance, kRank, which, options);
        SCOPED_TRACE(at::str(out, " x ", in, " ", found.route));
        expect_sound(found, m);
        EXPECT_EQ(found.total, 0);
        EXPECT_EQ(without_weight(found, w), kRank);
      }
    }
    expect_sound(svd_top(w, kRank), m);
  }
}

// Sums of five tokens' squares, hardly damped: C~ itself is singular to rounding.
TEST(LowRank, ACovarianceThatIsHardlyDampedGivesFiniteResults) {
  at::manual_seed(16);
  for (const auto& [out, in] : {std::pair(320, 320), std::pair(640, 256), std::pair(256, 640)}) {
    const LayerCase c = {"c", out, in, LayerCase::Spectrum::kDecay, false, 0, 5};
    const at::Tensor w = weight_of(c);
    DampedCovariance covariance(covariance_of(c), 1e-12);
    const at::Tensor m = at::mm(w, covariance.matrix());
    for (const Which which : {Which::kSmallest, Which::kLargest}) {
      const Spectrum exact = left_singular_subspace(w, covariance.matrix(), kRank, which);
      const Spectrum found = certified_subspace(w, covariance, kRank, which, kFast);
      SCOPED_TRACE(at::str(out, " x ", in, " ", found.route, " ", found.refused));
      expect_sound(found, m);
      EXPECT_NEAR(energy(found.vectors, m), energy(exact.vectors, m),
                  1e-5 * energy(exact.vectors, m) + rounding(found));
    }
  }
}

// Dual: the task saw fewer directions than the adapter takes, or one of no energy at all beside.
TEST(LowRank, ATaskOfFewDirectionsGivesFiniteOnesOfWhichTheFirstCarryAll) {
  at::manual_seed(17);
  for (const std::int64_t tokens : {1, 5, 15}) {
    const LayerCase c = {"task", 1, 320, LayerCase::Spectrum::kDecay, false, 0, tokens};
    const at::Tensor task = covariance_of(c);
    DampedCovariance knowledge(covariance_of({"knowledge", 1, 320}), 0.01);
    for (const SubspaceOptions& options : {kFast, kExact}) {
      const Spectrum found = certified_generalised_top(task, knowledge, kRank, options);
      SCOPED_TRACE(at::str(tokens, " ", found.route, " ", found.refused));
      EXPECT_TRUE(found.vectors.isfinite().all().item<bool>());
      EXPECT_GE(found.bound, kGeneralisedBound);
      EXPECT_LE(found.bound, 1);
      EXPECT_NEAR(found.values.sum().item<double>(), found.total, 1e-9 * found.total);
      EXPECT_LT(found.values.narrow(0, tokens, kRank - tokens).abs().max().item<double>(),
                1e-9 * found.total);
    }
  }
}

}  // namespace
}  // namespace corda::linalg
