// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FileTest : public ::testing::Test {
 protected:
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      result.push_back(entry.path().filename().string());
    return result;
  }
  testing::TemporaryDirectory folder_;
};

// Runs `work` in a child process that is then killed, without a destructor having run.
template <typename Work>
void in_killed_process(const Work& work) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    work();
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST_F(FileTest, AtomicDirectory_AppearsWholeAtCommitAndNotBefore) {
  {
    AtomicDirectory directory(at("out"));
    write_file_atomic(directory.staging() / "a", "1");
    EXPECT_FALSE(fs::exists(at("out")));
    directory.commit();
  }
  EXPECT_EQ(read_file(at("out") / "a"), "1");
  EXPECT_THAT(names(), ::testing::ElementsAre("out"));
}

TEST_F(FileTest, AtomicDirectory_LeavesNothingWithoutCommit) {
  {
    const AtomicDirectory directory(at("out"));
    write_file_atomic(directory.staging() / "a", "1");
  }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(FileTest, AtomicDirectory_RefusesASecondWriterOfTheSameOutput) {
  std::optional<AtomicDirectory> first(at("out"));
  EXPECT_EQ(error_of<ResourceError>([&] { AtomicDirectory second(at("out")); }),
            concat("another process is writing '", at("out").string(),
                   "'; wait until it ends or write somewhere else"));
  write_file_atomic(first->staging() / "a", "1");  // the refusal took nothing from the first
  first->commit();
  EXPECT_EQ(read_file(at("out") / "a"), "1");
}

TEST_F(FileTest, AtomicDirectory_RemovesWhatAKilledProcessLeft) {
  in_killed_process([&] {
    static AtomicDirectory directory(at("out"));
    write_file_atomic(directory.staging() / "half", "1");
  });
  EXPECT_THAT(names(), ::testing::ElementsAre("out.corda-partial"));
  AtomicDirectory directory(at("out"));
  EXPECT_TRUE(fs::is_empty(directory.staging()));
  directory.commit();
  EXPECT_THAT(names(), ::testing::ElementsAre("out"));
}

TEST_F(FileTest, AtomicDirectory_FollowsALinkAndRefusesADanglingOne) {
  fs::create_directory(at("real"));
  fs::create_directory_symlink(at("real"), at("link"));
  AtomicDirectory directory(at("link"));
  write_file_atomic(directory.staging() / "a", "1");
  directory.commit();
  EXPECT_TRUE(fs::is_symlink(at("link")));
  EXPECT_EQ(read_file(at("real") / "a"), "1");
  fs::create_directory_symlink(at("nowhere"), at("dangling"));
  EXPECT_THAT(error_of<ConfigError>([&] { AtomicDirectory refused(at("dangling")); }),
              HasSubstr("is a symbolic link to nothing"));
}

TEST_F(FileTest, AtomicDirectory_RefusesAMountPointAndAFullDirectory) {
  EXPECT_THAT(error_of<ConfigError>([&] { AtomicDirectory refused("/proc", /*replace=*/true); }),
              HasSubstr("'/proc' is a mount point; write to a folder below it"));
  write_file_atomic(at("file"), "1");
  EXPECT_THAT(error_of<ConfigError>([&] { AtomicDirectory refused(folder_.path()); }),
              HasSubstr("already exists and is not empty"));
  EXPECT_THAT(error_of<ConfigError>([&] { AtomicDirectory refused(at("file")); }),
              HasSubstr("already exists and is not empty"));
}

TEST_F(FileTest, LinkOrMove_GivesTheFileASecondName) {
  write_file_atomic(at("part"), "1");
  link_or_move(at("part"), at("whole"));
  EXPECT_EQ(read_file(at("part")), "1");
  EXPECT_EQ(read_file(at("whole")), "1");
  EXPECT_THAT(error_of<ResourceError>([&] { link_or_move(at("none"), at("other")); }),
              HasSubstr("cannot create '" + at("other").string() + "'"));
}

TEST_F(FileTest, DirectoryLock_IsExclusiveAndEndsWithTheObject) {
  {
    const DirectoryLock first(at("run"), at("run"));
    EXPECT_THAT(error_of<ResourceError>([&] { DirectoryLock second(at("run"), at("run")); }),
                HasSubstr("another process is writing"));
    write_file_atomic(at("run") / "a", "1");
  }
  const DirectoryLock again(at("run"), at("run"));
  EXPECT_EQ(read_file(at("run") / "a"), "1");
}

TEST_F(FileTest, DirectoryLock_EndsWithAKilledProcess) {
  in_killed_process([&] { static const DirectoryLock lock(at("run"), at("run")); });
  const DirectoryLock lock(at("run"), at("run"));
  EXPECT_TRUE(fs::exists(at("run")));
}

TEST_F(FileTest, DirectoryLock_RemovesADirectoryThatStayedEmpty) {
  { const DirectoryLock lock(at("run"), at("run")); }
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(FileTest, OutputThatCannotBeMadeIsAResourceError) {
  write_file_atomic(at("file"), "1");
  EXPECT_THAT(error_of<ResourceError>([&] { AtomicDirectory refused(at("file") / "out"); }),
              HasSubstr("; write somewhere else"));
  EXPECT_EQ(error_of<ResourceError>([&] { write_file_atomic(at("none") / "a", "1"); }),
            concat("cannot create '", (at("none") / "a").string(),
                   "': No such file or directory; write somewhere else"));
}

TEST_F(FileTest, ReadFile_RefusesWhatIsNoRegularFile) {
  EXPECT_THAT(error_of<IoError>([&] { read_file(folder_.path()); }),
              HasSubstr("is not a regular file"));
  EXPECT_THAT(error_of<IoError>([&] { read_file(at("none")); }),
              HasSubstr("No such file or directory"));
  write_file_atomic(at("long"), "12345");
  EXPECT_THAT(error_of<IoError>([&] { read_file(at("long"), 4); }),
              HasSubstr("has 5 bytes, more than the 4"));
}

TEST_F(FileTest, WhyAbsentSaysWhatStandsThere) {
  write_file_atomic(at("file"), "1");
  EXPECT_EQ(why_absent(at("none"), "a.json"), "it does not exist");
  EXPECT_EQ(why_absent(at("file"), "a.json"), "it is no directory");
  EXPECT_EQ(why_absent(folder_.path(), "a.json"), "it holds no a.json");
}

}  // namespace
}  // namespace corda::core
