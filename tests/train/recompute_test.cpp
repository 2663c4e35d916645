// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/recompute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::ElementsAre;

TEST(Recompute, EveryNameLeadsToItsValueAndBack) {
  EXPECT_THAT(recompute_names(), ElementsAre("none", "selective", "block"));
  EXPECT_EQ(recompute_named("none"), Recompute::kNone);
  EXPECT_EQ(recompute_named("selective"), Recompute::kSelective);
  EXPECT_EQ(recompute_named("block"), Recompute::kBlock);
  for (const std::string& name : recompute_names()) EXPECT_EQ(name_of(recompute_named(name)), name);
}

TEST(Recompute, WhatIsInNoTableIsRefused) {
  EXPECT_EQ(error_of<core::ConfigError>([] { recompute_named("selctive"); }),
            "'recompute' must be one of none, selective, block; it is 'selctive'");
  EXPECT_EQ(error_of<core::InternalError>([] { name_of(static_cast<Recompute>(3)); }),
            "[train::row_of] no Recompute 3");
}

}  // namespace
}  // namespace corda::train
