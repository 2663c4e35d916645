// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/train/train.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

TEST(Settings, AWordFromCppThatIsNoChoiceIsRefused) {
  core::Reporter reporter;
  TrainSettings settings;
  settings.recompute = "selctive";
  settings.data.train = {{.path = "data.jsonl"}};
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { train(settings, false, reporter); }),
      HasSubstr("'recompute' must be one of auto, none, selective, block; it is 'selctive'"));
}

}  // namespace
}  // namespace corda::train
