// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Streaming on the GPU against the CPU.
#include <gtest/gtest.h>

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
