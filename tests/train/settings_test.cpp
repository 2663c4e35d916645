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

std::string error_in(const std::string& yaml) {
  TrainSettings settings;
  return error_of<core::ConfigError>(
      [&] { settings_of(settings).read(core::parse_yaml(yaml, "t.yaml")); });
}

TEST(TrainSettings, ADataFileWithoutAPathNamesListAndLine) {
  EXPECT_EQ(error_in("data:\n  train:\n    - format: alpaca\n"),
            "t.yaml:3: a file of 'data.train' needs a 'path'");
  EXPECT_EQ(error_in("data:\n  eval: ['']\n"), "t.yaml:2: a file of 'data.eval' needs a 'path'");
  EXPECT_EQ(error_in("data:\n  train:\n    - path: a\n      columns:\n        b: [c]\n"),
            "t.yaml:5: the column of 'b' must be a name");
}

// Which has no line.
TEST(TrainSettings, AnEmptyPathFromCppIsRefusedInASentence) {
  TrainSettings settings;
  settings.model = "model";
  settings.out = "out";
  settings.data.train = {{.path = "a.jsonl"}, {.path = "", .format = "alpaca"}};
  core::Reporter reporter;
  EXPECT_EQ(error_of<core::ConfigError>([&] { train(settings, false, reporter); }),
            "a file of 'data.train' needs a 'path'");
}

TEST(TrainSettings, AWordFromCppThatIsNoChoiceIsRefused) {
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
