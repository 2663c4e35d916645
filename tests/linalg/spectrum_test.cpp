// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/spectrum.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "linalg/layers.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::energy;
using ::corda::testing::error_of;
using ::testing::HasSubstr;

const std::filesystem::path kGolden =
    std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/decompose";
constexpr std::int64_t kRank = 4;

double norm_of(const core::Json& values) {
  double sum = 0;
  for (const auto& v : values) sum += v.get<double>() * v.get<double>();
  return std::sqrt(sum);
}

class SpectrumGolden : public ::testing::TestWithParam<const char*> {
 protected:
  SpectrumGolden()
      : file_(kGolden / "cases.safetensors"),
        manifest_(core::read_json(kGolden / "manifest.json")) {}
  at::Tensor tensor(const std::string& name) const {
    return io::view_tensor(file_, GetParam() + ("." + name)).clone();
  }
  const core::Json& expected() const { return manifest_["cases"][GetParam()]; }

  io::SafetensorsFile file_;
  core::Json manifest_;
};

TEST_P(SpectrumGolden, EnergyEqualsScipy) {
  const at::Tensor w = tensor("w");
  const at::Tensor damped = damp(tensor("c"), 0.01);
  const at::Tensor m = at::mm(w, damped);
  for (const auto& [which, key] :
       {std::pair(Which::kSmallest, "smallest"), std::pair(Which::kLargest, "largest")}) {
    SCOPED_TRACE(key);
    const Spectrum u = left_singular_subspace(w, damped, kRank, which);
    const double total = expected()["total"].get<double>();
    EXPECT_NEAR(u.total, total, 1e-12 * total);
    // Singular values are exact to a few eps ||M||; relative to themselves 1e-6 is promised where
    // they are not zero.
    const double optimum = norm_of(expected()[key]);
    EXPECT_NEAR(energy(u.vectors, m), optimum, 1e-6 * optimum + 1e-14 * total);
    for (std::int64_t i = 0; i < kRank; ++i) {
      const double value = expected()[key][static_cast<std::size_t>(i)].get<double>();
      EXPECT_NEAR(u.values[i].item<double>(), value, 1e-6 * value + 1e-14 * total) << i;
    }
    const at::Tensor identity = at::mm(u.vectors.t(), u.vectors);
    EXPECT_LT((identity - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-12);
    const at::Tensor product = at::mm(u.vectors, at::mm(u.vectors.t(), w));
    const at::Tensor golden = tensor(std::string(key) + ".projector_w");
    // The subspace itself is conditioned by the gap between neighbouring singular values, about 1e4
    // here at worst.
    EXPECT_LT((product - golden).abs().max().item<double>(),
              1e-8 * at::linalg_norm(w).item<double>());
  }
}

TEST_P(SpectrumGolden, SvdTopEqualsScipy) {
  const at::Tensor w = tensor("w");
  const Spectrum u = svd_top(w, kRank);
  for (std::int64_t i = 0; i < kRank; ++i) {
    EXPECT_NEAR(u.values[i].item<double>(),
                expected()["pissa"][static_cast<std::size_t>(i)].get<double>(), 1e-12)
        << i;
  }
  EXPECT_NEAR(u.total, at::linalg_norm(w).item<double>(), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Cases, SpectrumGolden,
                         ::testing::Values("square", "tall", "wide", "outlier", "outlier_wide",
                                           "deficient"),
                         [](const auto& instance) { return std::string(instance.param); });

TEST(Spectrum, SvdBottomIsTheOtherEndOfTheSvd) {
  at::manual_seed(6);
  for (const auto& [rows, columns] : {std::pair(20, 30), {30, 20}, {25, 25}}) {
    const at::Tensor w = at::randn({rows, columns}, at::kDouble);
    const Spectrum found = svd_bottom(w, kRank);
    const auto [u, s, vh] = at::linalg_svd(w, false);
    const std::int64_t begin = s.size(0) - kRank;
    EXPECT_TRUE(at::allclose(found.values, s.narrow(0, begin, kRank).flip(0), 1e-10, 1e-12));
    const at::Tensor chosen = u.narrow(1, begin, kRank).flip(1);
    EXPECT_TRUE(at::allclose(found.vectors.abs(), chosen.abs(), 1e-7, 1e-7));
    EXPECT_NEAR(found.total, at::linalg_norm(w).item<double>(), 1e-12 * found.total);
  }
}

// Eigenvalues may have either sign, and are taken from both ends; the matrix need not be symmetric
// to the last bit.
TEST(Spectrum, EigenvectorsAreThoseOfEitherEnd) {
  at::manual_seed(7);
  const at::Tensor g = at::randn({30, 30}, at::kDouble);
  const at::Tensor symmetric = g + g.t();
  const auto [values, vectors] = at::linalg_eigh(symmetric);
  at::Tensor stored = symmetric.clone();
  stored[3][4] += 1e-9;
  stored[4][3] -= 1e-9;
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    const bool smallest = which == Which::kSmallest;
    const Spectrum found = eigenvectors(stored, kRank, which);
    const at::Tensor expected =
        smallest ? values.narrow(0, 0, kRank) : values.narrow(0, 30 - kRank, kRank).flip(0);
    EXPECT_TRUE(at::allclose(found.values, expected, 1e-10, 1e-10));
    const at::Tensor chosen =
        smallest ? vectors.narrow(1, 0, kRank) : vectors.narrow(1, 30 - kRank, kRank).flip(1);
    EXPECT_TRUE(at::allclose(found.vectors.abs(), chosen.abs(), 1e-7, 1e-7));
    EXPECT_NEAR(found.total, symmetric.trace().item<double>(), 1e-10);
    EXPECT_EQ(found.route, "eigh");
  }
  EXPECT_THAT(error_of<core::ShapeError>([&] { eigenvectors(g, 31, Which::kLargest); }),
              HasSubstr("the rank must lie between 1 and 30; it is 31"));
  stored[2][2] = std::nan("");
  EXPECT_THAT(error_of<core::NumericalError>([&] { eigenvectors(stored, 1, Which::kLargest); }),
              HasSubstr("the matrix [30, 30] holds a NaN or an infinity"));
}

TEST(Spectrum, SingularValuesAreThoseOfTheProduct) {
  at::manual_seed(8);
  for (const auto& [rows, columns] : {std::pair(12, 30), {40, 30}}) {
    const at::Tensor w = at::randn({rows, columns}, at::kDouble);
    const at::Tensor x = at::randn({50, columns}, at::kDouble) * at::logspace(0, -3, columns);
    const at::Tensor damped = damp(at::mm(x.t(), x), 0.01);
    const at::Tensor expected = at::linalg_svdvals(at::mm(w, damped));
    const SingularValues found = singular_values(w, damped);
    EXPECT_NEAR(found.sum, expected.sum().item<double>(), 1e-7 * found.sum);
    EXPECT_NEAR(found.largest, expected[0].item<double>(), 1e-12 * found.largest);
  }
}

TEST(Spectrum, TheRangeOfADampedCovarianceIsInUnitsOfItsMean) {
  // 1.01 x 3 on the diagonal is the mean 3 and its damping: eigenvalues 1, 2, 6 and 0.03 more.
  DampedCovariance covariance(at::diag(at::tensor({2.0, 6.0, 1.0})) * 100, 0.01);
  EXPECT_NEAR(covariance.range().smallest, 1.03 / 3.03, 1e-12);
  EXPECT_NEAR(covariance.range().largest, 6.03 / 3.03, 1e-12);
}

TEST(Spectrum, GoldenFilesAreTheOnesTheManifestDescribes) {
  const core::Json manifest = core::read_json(kGolden / "manifest.json");
  const std::string content = core::read_file(kGolden / "cases.safetensors");
  EXPECT_EQ(core::Sha256().update(content).hex_digest(),
            manifest["sha256"]["cases.safetensors"].get<std::string>());
  EXPECT_EQ(manifest["cases"].size(), 7u);
}

TEST(Spectrum, GeneralisedTopEqualsScipy) {
  const io::SafetensorsFile file(kGolden / "cases.safetensors");
  const core::Json expected = core::read_json(kGolden / "manifest.json")["cases"]["dual"];
  const at::Tensor task = io::view_tensor(file, "dual.task").clone();
  const at::Tensor knowledge = damp(io::view_tensor(file, "dual.know"), 0.01);
  const Spectrum top = generalised_top(task, knowledge, kRank);
  ASSERT_EQ(expected["values"].size(), static_cast<std::size_t>(kRank));
  for (std::int64_t i = 0; i < kRank; ++i) {
    const double value = expected["values"][static_cast<std::size_t>(i)].get<double>();
    EXPECT_NEAR(top.values[i].item<double>(), value, 1e-9 * value) << i;
  }
  EXPECT_NEAR(top.total, expected["total"].get<double>(), 1e-9 * top.total);
  // C_task a = l C_know a, and a^T C_know a = 1.
  const at::Tensor residual =
      at::mm(task, top.vectors) - at::mm(knowledge, top.vectors) * top.values;
  EXPECT_LT(at::linalg_norm(residual).item<double>(), 1e-9 * at::linalg_norm(task).item<double>());
  const at::Tensor gram = at::mm(top.vectors.t(), at::mm(knowledge, top.vectors));
  EXPECT_LT((gram - at::eye(kRank, at::kDouble)).abs().max().item<double>(), 1e-10);
}

TEST(Spectrum, LargestEntryOfEachVectorIsPositive) {
  at::manual_seed(1);
  const Spectrum u = left_singular_subspace(at::randn({9, 7}), at::eye(7), 7, Which::kLargest);
  const at::Tensor largest = u.vectors.gather(0, u.vectors.abs().argmax(0, true));
  EXPECT_TRUE((largest > 0).all().item<bool>());
}

TEST(Spectrum, DampAddsTheMeanOfTheDiagonal) {
  const at::Tensor c = at::diag(at::tensor({1.0, 2.0, 6.0}));
  const at::Tensor damped = damp(c, 0.01);
  EXPECT_EQ(damped.scalar_type(), at::kDouble);
  EXPECT_TRUE(
      at::allclose(damped, at::diag(at::tensor({1.03, 2.03, 6.03}, at::kDouble)), 1e-15, 1e-15));
  EXPECT_EQ(c[0][0].item<double>(), 1.0) << "the argument must stay as it was";
}

TEST(Spectrum, KnownSingularVectorsOfADiagonalProduct) {
  // W = diag(4, 3, 2), C = diag(1, 10, 1): W C = diag(4, 30, 2).
  const at::Tensor w = at::diag(at::tensor({4.0, 3.0, 2.0}));
  const at::Tensor c = at::diag(at::tensor({1.0, 10.0, 1.0}));
  const Spectrum smallest = left_singular_subspace(w, c, 2, Which::kSmallest);
  EXPECT_TRUE(at::allclose(smallest.values, at::tensor({2.0, 4.0}, at::kDouble)));
  EXPECT_TRUE(
      at::allclose(smallest.vectors.abs(),
                   at::tensor({0.0, 1.0, 0.0, 0.0, 1.0, 0.0}, at::kDouble).reshape({3, 2})));
  const Spectrum largest = left_singular_subspace(w, c, 1, Which::kLargest);
  EXPECT_NEAR(largest.values[0].item<double>(), 30.0, 1e-12);
}

TEST(Spectrum, RefusesWhatDoesNotFit) {
  const at::Tensor w = at::randn({3, 4});
  EXPECT_THAT(error_of<core::ShapeError>(
                  [&] { left_singular_subspace(w, at::eye(3), 1, Which::kSmallest); }),
              HasSubstr("the weight is [3, 4], so the covariance must be [4, 4]; it is [3, 3]"));
  EXPECT_THAT(error_of<core::ShapeError>(
                  [&] { left_singular_subspace(w, at::eye(4), 4, Which::kSmallest); }),
              HasSubstr("the rank must lie between 1 and 3; it is 4"));
  EXPECT_THAT(error_of<core::ShapeError>([&] { damp(w, 0.1); }),
              HasSubstr("the covariance must be square; it is [3, 4]"));
  EXPECT_THAT(error_of<core::NumericalError>([&] {
                damp(at::zeros({2, 2}), 0.1);
              }),
              HasSubstr("its mean diagonal is 0"));
  at::Tensor bad = w.clone();
  bad[1][2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of<core::NumericalError>([&] { svd_top(bad, 1); }),
              HasSubstr("the weight [3, 4] holds a NaN or an infinity"));
  EXPECT_THAT(
      error_of<core::NumericalError>([&] { generalised_top(at::eye(3), -at::eye(3), 1); }),
      HasSubstr("the knowledge covariance [3, 3] is not positive definite (potrf gave info 1)"));
}

}  // namespace
}  // namespace corda::linalg
