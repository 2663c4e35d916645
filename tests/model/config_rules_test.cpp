// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What one key, or its absence, means to each family: as in transformers, whose models
// scripts/golden/config_rules.py has written to config_rules.tsv.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/model/config.h"
#include "model/config_geometry.h"
#include "support/error_of.h"

namespace corda::model {
namespace {

using ::testing::HasSubstr;

TEST(ConfigRules, AKeyMeansWhatItMeansToTransformers) {
  int count = 0;
  for (const ConfigRow& row : read_config_table("config_rules.tsv")) {
    if (!row.is_read) continue;
    SCOPED_TRACE(row.name);
    try {
      expect_geometry(geometry_of(parse_model_config(row.name, "config.json")), row.geometry);
    } catch (const core::Error& error) {
      ADD_FAILURE() << error.what();
    }
    ++count;
  }
  EXPECT_GT(count, 0);
}

TEST(ConfigRules, AKeyThatTheFamilyDoesNotKnowIsRefusedByNameWhereItSaysMoreThanTheFamilyDoes) {
  int count = 0;
  for (const ConfigRow& row : read_config_table("config_rules.tsv")) {
    if (row.is_read) continue;
    SCOPED_TRACE(row.name);
    const std::string message =
        testing::error_of<core::FormatError>([&] { parse_model_config(row.name, "config.json"); });
    EXPECT_THAT(message, HasSubstr("'" + row.word + "'"));
    ++count;
  }
  EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace corda::model
