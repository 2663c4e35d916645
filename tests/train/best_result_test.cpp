// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/best_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/file.h"
#include "support/temporary_directory.h"

namespace corda::train {
namespace {

class Best : public ::testing::Test {
 protected:
  static void save(const fs::path& directory) {
    fs::create_directories(directory);
    core::write_file_atomic(directory / "a", directory.filename().string());
  }
  std::vector<std::string> there() const {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(run() / "best", ignored))
      names.push_back(entry.path().filename().string());
    return names;
  }
  fs::path run() const { return folder_.path(); }

  testing::TemporaryDirectory folder_;
};

TEST_F(Best, IsOfTheFirstLowestLossAndCountsThoseSince) {
  BestResult best(run(), "data");
  EXPECT_FALSE(best.now());
  best.evaluated(2, 3.0, save);
  best.evaluated(4, 2.0, save);
  best.evaluated(6, 2.0, save);
  best.evaluated(8, 2.5, save);
  EXPECT_EQ(best.now()->step, 4);
  EXPECT_EQ(best.now()->loss, 2.0);
  EXPECT_EQ(best.now()->worse, 2);
  best.move_to(run() / "adapter");
  EXPECT_EQ(core::read_file(run() / "adapter/a"), "step-4");
  EXPECT_FALSE(fs::exists(run() / "best"));
}

// A run that is killed goes on from a checkpoint, which knows the best of its time.
TEST_F(Best, WhatACheckpointNamesStays) {
  BestResult best(run(), "data");
  best.evaluated(2, 3.0, save);
  best.checkpointed();
  best.evaluated(4, 2.0, save);
  best.evaluated(6, 1.0, save);
  EXPECT_THAT(there(), ::testing::UnorderedElementsAre("step-2", "step-6"));
  best.checkpointed();  // it may not be complete yet
  best.evaluated(8, 0.5, save);
  EXPECT_THAT(there(), ::testing::UnorderedElementsAre("step-2", "step-6", "step-8"));
  best.checkpointed();
  best.evaluated(10, 0.25, save);
  EXPECT_THAT(there(), ::testing::UnorderedElementsAre("step-6", "step-8", "step-10"));
}

TEST_F(Best, IsTakenUpFromACheckpointWhereDataAndDirectoryAreThere) {
  BestSoFar saved;
  {
    BestResult before(run(), "data");
    before.evaluated(2, 3.0, save);
    before.evaluated(4, 3.5, save);
    saved = best_from_json(core::Fields(to_json(*before.now()), "state"));
  }
  BestResult other(run(), "other data");
  EXPECT_FALSE(other.restore(saved));
  EXPECT_FALSE(other.now());
  BestResult after(run(), "data");
  ASSERT_TRUE(after.restore(saved));
  EXPECT_EQ(after.now()->step, 2);
  EXPECT_EQ(after.now()->worse, 1);
  fs::remove_all(run() / "best");
  BestResult gone(run(), "data");
  EXPECT_FALSE(gone.restore(saved));
}

}  // namespace
}  // namespace corda::train
