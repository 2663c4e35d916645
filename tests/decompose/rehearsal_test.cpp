// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "decompose/rehearsal.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>

#include "corda/decompose/mode.h"

namespace corda::decompose {
namespace {

class Rehearsal : public ::testing::TestWithParam<Mode> {};

DecomposeSettings settings_for(const Mode& mode) {
  DecomposeSettings settings;
  settings.method = mode.method;
  if (!mode.name.empty()) settings.mode = mode.name;
  return settings;
}

// A mode whose rehearsal fails would load nothing, and nobody would see it.
TEST_P(Rehearsal, SolvesLayersByTheModeAndDrawsNoNumber) {
  DecomposeSettings settings = settings_for(GetParam());
  settings.rank = 4096;  // more than the layers have
  if (GetParam().is_of_product) settings.ranks = settings.covariance_choice = "compact";
  at::manual_seed(3);
  const at::Tensor drawn = at::rand({4});
  at::manual_seed(3);
  EXPECT_NO_THROW(rehearse(settings, at::kCPU, /*inputs=*/128));
  EXPECT_TRUE(at::equal(at::rand({4}), drawn));
}

INSTANTIATE_TEST_SUITE_P(Modes, Rehearsal, ::testing::ValuesIn(modes().begin(), modes().end()),
                         [](const auto& tested) {
                           const Mode& mode = tested.param;
                           return std::string(mode.name.empty() ? mode.method : mode.name);
                         });

}  // namespace
}  // namespace corda::decompose
