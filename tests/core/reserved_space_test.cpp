// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "core/reserved_space.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

namespace fs = std::filesystem;
using testing::error_of;

std::int64_t blocks_of(const fs::path& file) {
  struct stat found {};
  return ::stat(file.c_str(), &found) == 0 ? found.st_blocks * 512 : -1;
}

TEST(ReservedSpace, IsTakenFromTheDiskUntilReleased) {
  const testing::TemporaryDirectory folder;
  const fs::path file = folder.path() / "reserved";
  std::ofstream(file) << "what a killed process left";
  {
    ReservedSpace room(file, 1 << 20);
    if (!fs::exists(file)) GTEST_SKIP() << "this file system cannot set space apart";
    EXPECT_GE(blocks_of(file), 1 << 20);
    room.release();
    EXPECT_FALSE(fs::exists(file));
  }
  { const ReservedSpace room(file, 1 << 20); }
  EXPECT_FALSE(fs::exists(file)) << "released with its scope";
}

TEST(ReservedSpace, MoreThanTheDiskHasIsRefused) {
  const testing::TemporaryDirectory folder;
  const fs::path file = folder.path() / "reserved";
  EXPECT_THAT(error_of<ResourceError>([&] { ReservedSpace(file, std::int64_t{1} << 60); }),
              ::testing::HasSubstr("needs 1153000 TB, and its disk has"));
  EXPECT_FALSE(fs::exists(file));
}

}  // namespace
}  // namespace corda::core
