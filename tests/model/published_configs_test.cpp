// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Configuration files as published, where the data folder is there: each is read as transformers
// reads it, or refused for the reason in published_configs.tsv, which
// scripts/golden/published_configs.py writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "corda/core/error.h"
#include "corda/model/config.h"
#include "model/config_geometry.h"
#include "support/data_folder.h"
#include "support/error_of.h"

namespace corda::model {
namespace {

using ::testing::HasSubstr;

class PublishedConfigs : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(folder_))
      GTEST_SKIP() << "no configurations at " << folder_ << " (set CORDA_SHARED)";
    ASSERT_FALSE(rows_.empty());
  }

  const fs::path folder_ = testing::data_folder() / "configs";
  const std::vector<ConfigRow> rows_ = read_config_table("published_configs.tsv");
};

TEST_F(PublishedConfigs, HaveARowEachAndNoRowIsWithoutAFile) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder_)) {
    if (entry.path().filename() == "config.json")
      files.insert(entry.path().lexically_relative(folder_).generic_string());
  }
  std::set<std::string> named;
  for (const ConfigRow& row : rows_)
    EXPECT_TRUE(named.insert(row.name).second) << row.name << " twice";
  EXPECT_EQ(named, files);
}

TEST_F(PublishedConfigs, AreReadAsTheModelsThatTransformersBuilds) {
  for (const ConfigRow& row : rows_) {
    if (!row.is_read) continue;
    SCOPED_TRACE(row.name);
    try {
      expect_geometry(geometry_of(read_model_config((folder_ / row.name).parent_path())),
                      row.geometry);
    } catch (const core::Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST_F(PublishedConfigs, AreRefusedByTheFileAndTheKeyThatMakesThemAnotherModel) {
  for (const ConfigRow& row : rows_) {
    if (row.is_read) continue;
    SCOPED_TRACE(row.name);
    const fs::path path = folder_ / row.name;
    std::string message =
        testing::error_of<core::FormatError>([&] { read_model_config(path.parent_path()); });
    EXPECT_THAT(message, HasSubstr(path.string()));
    // The folder may be called like the word.
    for (std::size_t at = 0; (at = message.find(path.string())) != std::string::npos;)
      message.erase(at, path.string().size());
    EXPECT_THAT(message, HasSubstr("'" + row.word + "'"));
  }
}

}  // namespace
}  // namespace corda::model
