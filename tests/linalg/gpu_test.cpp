// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The CUDA backend against the CPU reference.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <future>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/linalg/accumulate.h"
#include "corda/linalg/download.h"
#include "corda/linalg/spectrum.h"
#include "corda/linalg/upload.h"
#include "corda/linalg/warm_up.h"
#include "linalg/layers.h"
#include "support/error_of.h"

namespace corda::linalg {
namespace {

using ::corda::testing::covariance_of;
using ::corda::testing::energy;
using ::corda::testing::error_of;
using ::corda::testing::layer_cases;
using ::corda::testing::LayerCase;
using ::corda::testing::layers_below_the_rank;
using ::corda::testing::weight_of;
using ::testing::HasSubstr;

constexpr LayerCase::Spectrum kDecay = LayerCase::Spectrum::kDecay;

#define CORDA_NEEDS_GPU() \
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU"

TEST(WarmUp, EveryCallOfItSucceedsBesideOthers) {
  CORDA_NEEDS_GPU();
  WarmUp warm_up(at::Device(at::kCUDA, 0), WarmUpOf::kProducts);
  WarmUp other(at::Device(at::kCUDA, 0), WarmUpOf::kProducts);
  const at::Tensor ones = at::ones({256, 256}, at::device(at::kCUDA));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(at::mm(ones, ones).sum().item<float>(), 256.0F * 65536);
  warm_up.finish();
  other.finish();
}

// In a process of its own, in which nothing has decomposed yet: LibTorch fails where two threads
// come to their first decompositions at the same time.
TEST(LoadDecompositionsDeathTest, LetsThreadsBeginAtTheSameTime) {
  CORDA_NEEDS_GPU();
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto decompose = [] {
    const at::Device gpu(at::kCUDA, 0);
    const at::Tensor matrix = at::eye(64, at::device(gpu).dtype(at::kDouble)) * 4;
    load_decompositions(gpu);
    const auto [lower, info] = at::linalg_cholesky_ex(matrix);
    const auto [values, vectors] = at::linalg_eigh(matrix);
    return lower.diagonal().sum().item<double>() == 128 && values.sum().item<double>() == 256;
  };
  const auto all_at_once = [&] {
    std::vector<std::future<bool>> threads;
    for (int i = 0; i < 4; ++i) threads.push_back(std::async(std::launch::async, decompose));
    bool right = true;
    for (auto& thread : threads) right = thread.get() && right;
    return right;
  };
  EXPECT_EXIT(std::_Exit(all_at_once() ? 0 : 1), ::testing::ExitedWithCode(0), "");
}

TEST(WarmUp, DoesWhatIsToFollowOnItsThreadAndSaysWhatFailed) {
  CORDA_NEEDS_GPU();
  WarmUp warm_up(at::Device(at::kCUDA, 0), WarmUpOf::kProducts);
  bool done = false;
  warm_up.then([&] { done = true; });
  warm_up.finish();
  EXPECT_TRUE(done);
  WarmUp failing(at::Device(at::kCUDA, 0), WarmUpOf::kContext);
  failing.then([] { throw core::ResourceError("no memory"); });
  EXPECT_EQ(error_of<core::ResourceError>([&] { failing.finish(); }), "no memory");
}

class GpuSpectrum : public ::testing::TestWithParam<LayerCase> {};

TEST_P(GpuSpectrum, EnergyEqualsCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(7);
  const LayerCase& c = GetParam();
  const std::int64_t r = 16;
  const at::Tensor w = weight_of(c);
  const at::Tensor damped = damp(covariance_of(c), 0.01);
  const at::Tensor m = at::mm(w, damped);
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    const Spectrum reference = left_singular_subspace(w, damped, r, which);
    const Spectrum found = left_singular_subspace(w.cuda(), damped.cuda(), r, which);
    SCOPED_TRACE(found.route);
    ASSERT_TRUE(found.vectors.is_cuda());
    const at::Tensor u = found.vectors.cpu();
    const double optimum = at::linalg_norm(reference.values).item<double>();
    // 1e-6 of the optimum, which itself is known to some eps ||M||.
    EXPECT_NEAR(energy(u, m), optimum, 1e-6 * optimum + 1e-13 * reference.total);
    EXPECT_LT((at::mm(u.t(), u) - at::eye(r, at::kDouble)).abs().max().item<double>(), 1e-10);
    EXPECT_LT((found.values.cpu() - reference.values).abs().max().item<double>(),
              1e-6 * optimum + 1e-13 * reference.total);
    EXPECT_NEAR(found.total, reference.total, 1e-10 * reference.total);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, GpuSpectrum,
    ::testing::Values(LayerCase{"square", 256, 256}, LayerCase{"tall", 500, 200},
                      LayerCase{"wide", 200, 500}, LayerCase{"outlier", 256, 256, kDecay, true},
                      LayerCase{"outlier_tall", 500, 200, kDecay, true},
                      LayerCase{"deficient", 192, 256, kDecay, false, 100},
                      LayerCase{"deficient_tall", 256, 192, kDecay, false, 180}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(GpuLinalg, SvdTopEqualsCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(8);
  const at::Tensor w = weight_of({"w", 300, 120}).to(at::kBFloat16);
  const Spectrum reference = svd_top(w, 8);
  const Spectrum found = svd_top(w.cuda(), 8);
  EXPECT_TRUE(at::allclose(found.values.cpu(), reference.values, 1e-9));
  EXPECT_TRUE(at::allclose(found.vectors.cpu(), reference.vectors, 1e-6,
                           1e-6));  // gaps of 6 % between singular values
}

TEST(GpuLinalg, SvdBottomAndEigenvectorsEqualCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(10);
  const auto expect_equal = [](const Spectrum& found, const Spectrum& reference) {
    EXPECT_TRUE(at::allclose(found.values.cpu(), reference.values, 1e-8, 1e-10));
    EXPECT_TRUE(at::allclose(found.vectors.cpu(), reference.vectors, 1e-5, 1e-5));
    EXPECT_NEAR(found.total, reference.total, 1e-9 * std::abs(reference.total) + 1e-9);
  };
  for (const at::Tensor& w : {weight_of({"w", 300, 120}), weight_of({"w", 120, 300})})
    expect_equal(svd_bottom(w.cuda(), 8), svd_bottom(w, 8));
  const at::Tensor c = covariance_of({"c", 1, 200});
  const at::Tensor balance = c - 0.5 * covariance_of({"other", 1, 200});
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    expect_equal(eigenvectors(c.cuda(), 8, which), eigenvectors(c, 8, which));
    expect_equal(eigenvectors(balance.cuda(), 8, which), eigenvectors(balance, 8, which));
  }
  const at::Tensor w = weight_of({"w", 120, 200});
  const at::Tensor damped = damp(c, 0.01);
  const SingularValues found = singular_values(w.cuda(), damped.cuda());
  EXPECT_NEAR(found.sum, singular_values(w, damped).sum, 1e-7 * found.sum);
}

TEST(GpuLinalg, CertifiedEigenTopIsWithinTheBoundOfTheCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(11);
  const at::Tensor c = covariance_of({"c", 1, 700});
  const Spectrum found = certified_eigen_top(c.cuda(), 12, {});
  EXPECT_EQ(found.route, "eigen-chebyshev");
  EXPECT_GE(found.values.sum().item<double>(),
            kGeneralisedBound * eigenvectors(c, 12, Which::kLargest).values.sum().item<double>());
}

TEST(GpuLinalg, GeneralisedTopEqualsCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(9);
  const at::Tensor task = covariance_of({"task", 1, 200, kDecay, true});
  const at::Tensor knowledge = damp(covariance_of({"knowledge", 1, 200}), 0.01);
  const Spectrum reference = generalised_top(task, knowledge, 12);
  const Spectrum found = generalised_top(task.cuda(), knowledge.cuda(), 12);
  EXPECT_TRUE(at::allclose(found.values.cpu(), reference.values, 1e-9));
  EXPECT_NEAR(found.total, reference.total, 1e-9 * reference.total);
  const at::Tensor a = found.vectors.cpu();
  EXPECT_LT(
      (at::mm(a.t(), at::mm(knowledge, a)) - at::eye(12, at::kDouble)).abs().max().item<double>(),
      1e-9);
}

TEST(GpuLinalg, InfoWordOfCholeskyIsRead) {
  CORDA_NEEDS_GPU();
  const at::Tensor task = at::eye(8, at::kDouble).cuda();
  EXPECT_THAT(
      error_of<core::NumericalError>([&] { generalised_top(task, -task, 2); }),
      HasSubstr("the knowledge covariance [8, 8] is not positive definite (potrf gave info 1)"));
}

class GpuCertified : public ::testing::TestWithParam<LayerCase> {};

TEST_P(GpuCertified, EnergyIsWithinTheBoundOfTheCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(3);
  const LayerCase& c = GetParam();
  constexpr std::int64_t r = 16;
  const at::Tensor w = weight_of(c);
  DampedCovariance reference(covariance_of(c), 0.01);
  DampedCovariance covariance(reference.matrix().cuda(), 1e-15);
  const at::Tensor m = at::mm(w, reference.matrix());
  for (const Which which : {Which::kSmallest, Which::kLargest}) {
    const Spectrum exact = left_singular_subspace(w, reference.matrix(), r, which);
    const Spectrum found =
        certified_subspace(w.cuda(), covariance, r, which, {.smallest_size = 64});
    SCOPED_TRACE(found.route + " " + found.refused);
    ASSERT_TRUE(found.vectors.is_cuda());
    const double optimum = at::linalg_norm(exact.values).item<double>();
    const double reached = energy(found.vectors.cpu(), m);
    const double noise = 1e-12 * exact.total;  // rounding of the products themselves
    if (which == Which::kSmallest) {
      EXPECT_LE(reached, kSmallestBound * optimum + noise);
    } else {
      EXPECT_GE(reached, kLargestBound * optimum - noise);
    }
    // The largest come from products in 16 bits.
    EXPECT_NEAR(found.total, exact.total, (which == Which::kSmallest ? 1e-9 : 1e-4) * exact.total);
    if (which == Which::kLargest || c.rank == 0) {
      EXPECT_THAT(found.route, HasSubstr("chebyshev"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, GpuCertified, ::testing::ValuesIn(layer_cases()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(GpuCertifiedTop, SumIsWithinTheBoundOfTheCpuReference) {
  CORDA_NEEDS_GPU();
  at::manual_seed(7);
  const at::Tensor task = covariance_of({"task", 1, 320, kDecay, true});
  const at::Tensor knowledge = damp(covariance_of({"knowledge", 1, 320}), 0.01);
  DampedCovariance damped(knowledge.cuda(), 1e-15);
  const Spectrum exact = generalised_top(task, knowledge, 16);
  const Spectrum found = certified_generalised_top(task.cuda(), damped, 16, {.smallest_size = 64});
  EXPECT_EQ(found.route, "cholesky-chebyshev");
  EXPECT_GE(found.values.sum().item<double>(),
            kGeneralisedBound * exact.values.sum().item<double>());
  EXPECT_NEAR(found.total, exact.total, 1e-9 * exact.total);
}

TEST(GpuLinalg, ScaledGramOf16BitActivationsEqualsFp64) {
  CORDA_NEEDS_GPU();
  at::manual_seed(10);
  // 2500 columns: two panels, the second one narrower.
  for (const auto type : {at::kBFloat16, at::kHalf, at::kFloat}) {
    const at::Tensor x = at::randn({300, 2500}).to(type);
    const at::Tensor start = at::randn({2500, 2500});
    at::Tensor sum = start.cuda();
    add_scaled_gram(sum, x.cuda(), at::full({1}, 0.25F).cuda());
    mirror_lower(sum);
    const at::Tensor x_fp64 = x.to(at::kDouble);
    const at::Tensor lower = (start.to(at::kDouble) + at::mm(x_fp64.t(), x_fp64) * 0.25).tril();
    const at::Tensor expected = lower + lower.tril(-1).t();
    // 300 products summed in fp32 to at most 100, where tensor cores cut rather than round: half of
    // 300 eps of the sum; the worst seen is 1.4e-4 (fp16, H100).
    EXPECT_LT((sum.cpu() - expected).abs().max().item<double>(), 1e-3) << at::toString(type);
  }
}

// Weights of a lower rank than the adapter, by the fast routes and by the exact ones.
class GpuBelowTheRank : public ::testing::TestWithParam<LayerCase> {};

TEST_P(GpuBelowTheRank, WhatIsFoundIsFiniteAndCarriesWhatThereIs) {
  CORDA_NEEDS_GPU();
  at::manual_seed(13);
  const LayerCase& c = GetParam();
  const std::int64_t r = 16;
  const at::Tensor w = weight_of(c).cuda();
  DampedCovariance covariance(covariance_of(c).cuda(), 0.01);
  const at::Tensor m = at::mm(w, covariance.matrix());
  const double total = at::linalg_norm(m).item<double>();
  for (const bool exact : {false, true}) {
    for (const Which which : {Which::kSmallest, Which::kLargest}) {
      const Spectrum found =
          certified_subspace(w, covariance, r, which, {.exact = exact, .smallest_size = 64});
      SCOPED_TRACE(found.route + " " + found.refused);
      EXPECT_TRUE(found.vectors.isfinite().all().item<bool>());
      EXPECT_TRUE(found.values.isfinite().all().item<bool>());
      EXPECT_GE(found.values.min().item<double>(), 0);
      const double best = which == Which::kSmallest ? 0 : total;
      EXPECT_NEAR(energy(found.vectors, m), best, 1e-10 * total);
      EXPECT_NEAR(at::linalg_norm(found.values).item<double>(), best, 1e-10 * total);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Layers, GpuBelowTheRank, ::testing::ValuesIn(layers_below_the_rank()),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(GpuLinalg, UploadEqualsTheHostTensors) {
  CORDA_NEEDS_GPU();
  at::manual_seed(11);
  Uploader uploader({at::kCUDA, 0});
  // 40 MB: more than one of the two staging buffers holds.
  const std::vector<at::Tensor> tensors = {at::randn({2500, 4000}), at::randn({7}).to(at::kHalf),
                                           at::empty({0, 3})};
  std::vector<HostRows> rows;
  for (const auto& tensor : tensors) rows.push_back(rows_of(tensor));
  for (int round = 0; round < 3; ++round) {
    auto upload = uploader.start(rows);
    const auto found = upload.wait();
    ASSERT_EQ(found.size(), tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i)
      EXPECT_TRUE(at::equal(found[i].cpu(), tensors[i])) << i;
  }
  rows[1].fill = [](std::int64_t, std::int64_t, std::byte*) { throw core::IoError("torn"); };
  auto upload = uploader.start(rows);
  EXPECT_EQ(error_of<core::IoError>([&] { upload.wait(); }), "torn");
}

// What an upload that nobody waits for would have written to is given to others only afterwards.
TEST(GpuLinalg, ADroppedUploadDoesNotWriteIntoMemoryOfOthers) {
  CORDA_NEEDS_GPU();
  const auto options = at::TensorOptions().device(at::kCUDA, 0);
  const at::Tensor ones = at::ones({4000, 4000});
  Uploader uploader({at::kCUDA, 0});
  for (int round = 0; round < 20; ++round) {
    { const auto dropped = uploader.start({rows_of(ones)}); }
    const at::Tensor others = at::zeros({4000, 4000}, options);
    // A second upload ends after whatever the first one still copied: both use one stream.
    EXPECT_TRUE(at::equal(uploader.start({rows_of(ones)}).wait()[0].cpu(), ones));
    EXPECT_EQ(others.abs().max().item<float>(), 0.0F) << round;
  }
}

// The memory of a tensor that was dropped is used again by the current stream, but not before it
// was copied.
// Every other one begins when it is waited for, on another thread.
TEST(GpuLinalg, DownloadEqualsTheDeviceTensorsThoughTheyAreDropped) {
  CORDA_NEEDS_GPU();
  const auto options = at::TensorOptions().device(at::kCUDA, 0);
  const at::Tensor host = at::full({3}, 7.0F);
  std::vector<Download> downloads;
  for (int i = 0; i < 20; ++i) {
    at::Tensor large = at::full({4'000'000}, static_cast<float>(i), options);
    const at::Tensor columns = at::arange(6, options).view({2, 3}).t();
    downloads.emplace_back(std::vector<at::Tensor>{std::move(large), host, columns},
                           i % 2 == 0 ? Download::Begins::kNow : Download::Begins::kWhenWaited);
    at::zeros({4'000'000}, options);
  }
  std::async(std::launch::async, [&] {
    for (Download& download : downloads) download.wait();
  }).get();
  for (int i = 0; i < 20; ++i) {
    const auto& found = downloads[static_cast<std::size_t>(i)].wait();
    ASSERT_EQ(found.size(), 3U);
    EXPECT_TRUE(found[0].is_cpu() && (found[0] == static_cast<float>(i)).all().item<bool>()) << i;
    EXPECT_TRUE(found[1].is_same(host));
    EXPECT_TRUE(at::equal(found[2], at::arange(6).view({2, 3}).t()));
  }
}

}  // namespace
}  // namespace corda::linalg
