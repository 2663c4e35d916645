// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/work_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/captured_log.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class WorkDirectoryTest : public ::testing::Test {
 protected:
  // A process with this key that finished one part, or none, and ended before its output.
  void work(const std::string& key, bool finishes_a_part) {
    WorkDirectory work(out(), key, log_);
    if (finishes_a_part) write_file_atomic(work.path() / "part", "content");
  }
  fs::path out() const { return folder_.path() / "out"; }
  fs::path part() const { return work_path(out()) / "part"; }

  testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

TEST_F(WorkDirectoryTest, FinishedPartsStayAndItIsSaid) {
  work("key", true);
  EXPECT_THAT(log_.text,
              AllOf(StartsWith("info: what is finished stays in"), HasSubstr("out.work'")));
  work("key", false);
  EXPECT_EQ(read_file(part()), "content");
}

TEST_F(WorkDirectoryTest, WithoutAPartNothingStaysAndNothingIsSaid) {
  work("key", false);
  EXPECT_FALSE(fs::exists(work_path(out())));
  EXPECT_EQ(log_.text, "");
}

TEST_F(WorkDirectoryTest, PartsOfAnotherKeyAreThrownAwayWithAWarning) {
  work("key", true);
  log_.text.clear();
  work("another key", false);
  EXPECT_THAT(log_.text, AllOf(StartsWith("warning: "), HasSubstr("they are thrown away")));
  EXPECT_FALSE(fs::exists(work_path(out())));
}

TEST_F(WorkDirectoryTest, RemoveLeavesNothing) {
  {
    WorkDirectory work(out(), "key", log_);
    write_file_atomic(work.path() / "part", "content");
    work.remove();
  }
  EXPECT_FALSE(fs::exists(work_path(out())));
  EXPECT_EQ(log_.text, "");
}

TEST_F(WorkDirectoryTest, ItsPathIsThatOfTheOutputHoweverItIsSpelt) {
  EXPECT_EQ(work_path("/a/b/"), "/a/b.work");
  EXPECT_EQ(work_path("/a/c/../b"), "/a/b.work");
}

}  // namespace
}  // namespace corda::core
