// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Streaming on the GPU against the CPU.
#include <gtest/gtest.h>

#include "corda/covariance/gradients.h"
#include "covariance/stream_helpers.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::covariance {
namespace {

using ::corda::covariance::testing::stream;
using ::corda::covariance::testing::tiny_draw;

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

class GpuStream : public ::testing::TestWithParam<HiddenStatesPlace> {};

TEST_P(GpuStream, CovariancesEqualTheCpus) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const corda::testing::TemporaryDirectory scratch;
  const auto model = scratch.path() / "model";
  corda::testing::write_tiny_model(model, {.hidden = 64, .intermediate = 1100, .layers = 3});
  const std::vector<Draw> draws = {tiny_draw(96, 11), tiny_draw(96, 5)};
  const auto expected = stream(model, draws, {});
  const StreamOptions options = {.device = at::Device(at::kCUDA, 0), .hidden_states = GetParam()};
  const auto fp32 = stream(model, draws, options);
  StreamOptions half = options;
  half.dtype = at::kBFloat16;
  const auto bf16 = stream(model, draws, half);
  for (std::size_t i = 0; i < draws.size(); ++i) {
    ASSERT_EQ(fp32[i].covariances.size(), 12U);
    for (const auto& [site, covariance] : expected[i].covariances) {
      // The same products summed in fp32 in another order: some hundred roundings of 6e-8.
      EXPECT_LT(relative_difference(fp32[i].covariances.at(site), covariance), 1e-5) << site;
      // bf16 activations: 2^-9 each, and the division by the square of the largest.
      EXPECT_LT(relative_difference(bf16[i].covariances.at(site), covariance), 0.05) << site;
    }
  }
}

// Autograd over kernels there, over ATen's operations here.
TEST(GpuGradients, GramsEqualTheCpus) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const corda::testing::TemporaryDirectory scratch;
  const auto folder = scratch.path() / "model";
  corda::testing::write_tiny_model(folder, {.hidden = 64, .intermediate = 200, .layers = 3});
  std::vector<GradientBatch> batches(2);
  for (int i = 0; i < 6; ++i) {
    data::Sample sample;
    for (int t = 0; t < 9 + 4 * i; ++t) {
      sample.ids.push_back((t * t + 13 * i) % 96);
      sample.supervised.push_back(t > 3 ? 1 : 0);
    }
    GradientBatch& batch = batches[static_cast<std::size_t>(i % 2)];
    if (i % 4 < 2) batch.parts.emplace_back();
    data::append(batch.parts.back(), sample);
    batch.targets += data::targets_of(sample);
  }
  core::Reporter silent;
  const auto grams = [&](at::Device device, at::ScalarType compute) {
    model::Model model =
        model::load_model(io::Checkpoint(folder), model::read_model_config(folder),
                          {.device = device, .weights = at::kFloat, .compute = compute});
    auto found = gradient_grams(model, batches, silent);
    for (auto& [site, gram] : found) gram = gram.cpu();
    return found;
  };
  const at::Device gpu(at::kCUDA, 0);
  const auto expected = grams(at::kCPU, at::kFloat);
  const auto fp32 = grams(gpu, at::kFloat);
  const auto bf16 = grams(gpu, at::kBFloat16);
  ASSERT_EQ(expected.size(), 12U);
  for (const auto& [site, gram] : expected) {
    EXPECT_LT(relative_difference(fp32.at(site), gram), 1e-4) << site;
    EXPECT_LT(relative_difference(bf16.at(site), gram), 0.1) << site;
  }
}

TEST(GpuCentredStream, CovariancesEqualTheCpus) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const corda::testing::TemporaryDirectory scratch;
  const auto model = scratch.path() / "model";
  corda::testing::write_tiny_model(model, {.hidden = 64, .intermediate = 1100, .layers = 3});
  const std::vector<Draw> draws = {tiny_draw(96, 11)};
  for (const auto scaling : {ActivationScaling::kNone, ActivationScaling::kReference}) {
    StreamOptions options = {.activation_scaling = scaling, .center = true};
    const auto expected = stream(model, draws, options);
    options.center = false;
    const auto whole = stream(model, draws, options);
    options.center = true;
    options.device = at::Device(at::kCUDA, 0);
    const auto fp32 = stream(model, draws, options);
    options.dtype = at::kBFloat16;
    const auto bf16 = stream(model, draws, options);
    ASSERT_EQ(fp32[0].covariances.size(), 12U);
    for (const auto& [site, covariance] : expected[0].covariances) {
      // As for covariances with their mean.
      EXPECT_LT(relative_difference(fp32[0].covariances.at(site), covariance), 1e-5) << site;
      EXPECT_LT(relative_difference(bf16[0].covariances.at(site), covariance), 0.05) << site;
      EXPECT_GT(relative_difference(whole[0].covariances.at(site), covariance), 1e-3)
          << site << " has no mean";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HiddenStates, GpuStream,
                         ::testing::Values(HiddenStatesPlace::kDevice, HiddenStatesPlace::kHost),
                         [](const auto& instance) {
                           return instance.param == HiddenStatesPlace::kHost ? "host" : "device";
                         });

TEST(GpuHiddenStates, PlacesOfTheActivationsGiveTheSameBytes) {
  if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  const corda::testing::TemporaryDirectory scratch;
  const auto model = scratch.path() / "model";
  corda::testing::write_tiny_model(model, {.layers = 3});
  const std::vector<Draw> draws = {tiny_draw(96, 11)};
  StreamOptions options = {.device = at::Device(at::kCUDA, 0),
                           .hidden_states = HiddenStatesPlace::kDevice};
  const auto device = stream(model, draws, options);
  options.hidden_states = HiddenStatesPlace::kHost;
  const auto host = stream(model, draws, options);
  for (const auto& [site, covariance] : device[0].covariances)
    EXPECT_TRUE(at::equal(host[0].covariances.at(site), covariance)) << site;
}

}  // namespace
}  // namespace corda::covariance
