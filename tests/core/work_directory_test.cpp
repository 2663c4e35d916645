// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/work_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class WorkDirectoryTest : public ::testing::Test {
 protected:
  static ConfigNode made_with(const std::string& rank) {
    return parse_yaml("mode: kpa\nrank: " + rank, "test");
  }

  // A process with this rank that finished one part, or none, and ended before its output.
  void work(const std::string& rank, bool finishes_a_part) {
    WorkDirectory work(out(), made_with(rank), log_);
    if (finishes_a_part) write_file_atomic(work.path() / "part", "content");
  }
  fs::path out() const { return folder_.path() / "out"; }
  fs::path part() const { return work_path(out()) / "part"; }

  testing::TemporaryDirectory folder_;
  CapturedLog log_;
};

TEST_F(WorkDirectoryTest, FinishedPartsStayAndItIsSaid) {
  work("4", true);
  EXPECT_THAT(log_.text,
              AllOf(StartsWith("info: what is finished stays in"), HasSubstr("out.work'")));
  work("4", false);
  EXPECT_EQ(read_file(part()), "content");
}

TEST_F(WorkDirectoryTest, WithoutAPartNothingStaysAndNothingIsSaid) {
  work("4", false);
  EXPECT_FALSE(fs::exists(work_path(out())));
  EXPECT_EQ(log_.text, "");
}

TEST_F(WorkDirectoryTest, PartsMadeWithSomethingElseAreRefusedAndStay) {
  work("4", true);
  const std::string end = "; delete that folder to start anew, or repeat the earlier command";
  const std::string begin = "'" + work_path(out()).string() + "' holds unfinished work, but ";
  EXPECT_EQ(error_of<ConfigError>([&] { work("5", false); }),
            begin + "'rank' was 4 and is 5 now" + end);
  write_file_atomic(work_path(out()) / "made-with", "decompose 3\nmode: kpa\n");
  EXPECT_EQ(error_of<ConfigError>([&] { work("4", false); }),
            begin + "they were made by another version of corda" + end);
  EXPECT_EQ(read_file(part()), "content");
}

// A hash of what was drawn differs with the number of samples that were drawn.
TEST_F(WorkDirectoryTest, TheSettingThatDiffersIsNamedNotWhatFollowsFromIt) {
  const auto depends = [](const std::string& samples, const std::string& data) {
    ConfigNode node;
    node.kind = ConfigNode::Kind::kMap;
    node.entries = {{"samples", ConfigNode::scalar(samples)},
                    {"data", ConfigNode::scalar("sha256:" + data)}};
    return node;
  };
  const auto resume = [&](const ConfigNode& with) {
    return error_of<ConfigError>([&] { WorkDirectory again(out(), with, log_, {"data"}); });
  };
  {
    const WorkDirectory work(out(), depends("8", "a"), log_, {"data"});
    write_file_atomic(work.path() / "part", "content");
  }
  const auto because = [](const std::string& what) {
    return HasSubstr("work, but " + what + "; ");
  };
  EXPECT_THAT(resume(depends("16", "b")), because("'samples' was 8 and is 16 now"));
  EXPECT_THAT(resume(depends("8", "b")), because("'data' is another one now"));
}

TEST_F(WorkDirectoryTest, AFolderWithoutTheMarkIsSomebodysOwnAndRefused) {
  fs::create_directory(work_path(out()));
  write_file_atomic(part(), "precious");
  EXPECT_EQ(error_of<ConfigError>([&] { work("4", true); }),
            "'" + work_path(out()).string() +
                "', where unfinished work on this output would be kept, holds files that corda did "
                "not make; move that folder away or choose another --out");
  EXPECT_EQ(read_file(part()), "precious");
  fs::remove(part());
  fs::create_directories(work_path(out()) / "folder");
  EXPECT_THROW(refuse_foreign_work(out()), ConfigError);
  EXPECT_TRUE(fs::exists(work_path(out()) / "folder"));
}

// A process killed before its mark was whole, and one killed while it removed its parts.
TEST_F(WorkDirectoryTest, WhatAKilledProcessLeftWithoutAMarkIsNoObstacle) {
  for (const char* left : {"made-with.tmp-4711", "made-with.void"}) {
    fs::create_directory(work_path(out()));
    write_file_atomic(work_path(out()) / left, "");
    if (std::string(left) == "made-with.void") write_file_atomic(part(), "worthless");
    work("4", false);
    EXPECT_FALSE(fs::exists(work_path(out()))) << left;
  }
  EXPECT_EQ(log_.text, "");
}

TEST_F(WorkDirectoryTest, RemoveLeavesNothing) {
  {
    WorkDirectory work(out(), made_with("4"), log_);
    write_file_atomic(work.path() / "part", "content");
    write_file_atomic(work.path() / "second part", "content");
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
