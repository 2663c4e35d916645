// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/room.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdlib>
#include <fstream>
#include <limits>

#include "corda/core/error.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::core {
namespace {

namespace fs = std::filesystem;
using testing::error_of;

constexpr std::int64_t kMega = std::int64_t{1} << 20;

// A machine of which the kernel says what the tests let it say.
class AvailableMemory : public ::testing::Test {
 protected:
  void say(const fs::path& file, const std::string& text) const {
    fs::create_directories((folder_.path() / file).parent_path());
    std::ofstream(folder_.path() / file) << text;
  }
  void has(int free, int available, int swap) const {
    say("proc/meminfo",
        concat("MemTotal: 999999999 kB\nMemFree: ", free * 1024,
               " kB\nMemAvailable:   ", available * 1024, " kB\nSwapFree: ", swap * 1024, " kB\n"));
  }
  std::int64_t megabytes() const { return available_memory_bytes(folder_.path()) / kMega; }

  testing::TemporaryDirectory folder_;
};

// Pages of files that were read are free memory to whoever asks for it.
TEST_F(AvailableMemory, IsWhatTheKernelCallsAvailableAndFreeSwap) {
  has(100, 900, 0);
  EXPECT_EQ(megabytes(), 900);
  has(100, 900, 50);
  EXPECT_EQ(megabytes(), 950);
}

TEST_F(AvailableMemory, OfAControlGroupIsItsLimitLessWhatItCannotGiveUp) {
  has(100, 900, 0);
  say("proc/self/cgroup", "0::/user/job\n");
  const std::string group = "sys/fs/cgroup/user/job/";
  say(group + "memory.max", concat(400 * kMega));
  say(group + "memory.current", concat(300 * kMega));
  say(group + "memory.stat",
      concat("anon 1\ninactive_file ", 120 * kMega, "\nactive_file ", 30 * kMega, "\n"));
  EXPECT_EQ(megabytes(), 250);
  say(group + "memory.max", "max\n");
  EXPECT_EQ(megabytes(), 900);
  say("sys/fs/cgroup/user/memory.max", concat(200 * kMega));  // a group above
  say("sys/fs/cgroup/user/memory.current", concat(80 * kMega));
  EXPECT_EQ(megabytes(), 120);
}

TEST_F(AvailableMemory, KnowsControlGroupsOfTheFirstVersionAndThoseOfAContainer) {
  has(100, 900, 0);
  say("proc/self/cgroup", "9:cpu:/a\n7:hugetlb,memory:/a\n0::/../elsewhere\n");
  say("sys/fs/cgroup/memory/a/memory.limit_in_bytes", concat(500 * kMega));
  say("sys/fs/cgroup/memory/a/memory.usage_in_bytes", concat(450 * kMega));
  say("sys/fs/cgroup/memory/a/memory.stat", concat("total_inactive_file ", 250 * kMega, "\n"));
  EXPECT_EQ(megabytes(), 300);
  say("sys/fs/cgroup/memory.max", concat(60 * kMega));
  say("sys/fs/cgroup/memory.current", concat(10 * kMega));
  EXPECT_EQ(megabytes(), 50);
}

TEST_F(AvailableMemory, IsWithoutLimitWhereNothingIsSaid) {
  EXPECT_EQ(available_memory_bytes(folder_.path()), std::numeric_limits<std::int64_t>::max());
  EXPECT_GT(available_memory_bytes(), kMega);
  EXPECT_LT(available_memory_bytes(), std::numeric_limits<std::int64_t>::max());
}

TEST_F(AvailableMemory, IsWhatALimitOfTheAddressSpaceLeaves) {
  has(100, 900, 0);
  say("proc/self/status", concat("VmPeak: 9 kB\nVmSize: ", 30 * 1024, " kB\n"));
  const auto limited = [&] {
    rlimit limit{};
    ::getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = static_cast<rlim_t>(70 * kMega);
    ::setrlimit(RLIMIT_AS, &limit);
    std::_Exit(static_cast<int>(megabytes()));
  };
  EXPECT_EXIT(limited(), ::testing::ExitedWithCode(40), "");
}

TEST(Room, ThatIsMissingIsNamedWithWhatToDo) {
  EXPECT_EQ(error_of<ResourceError>([] {
              require_memory("the model", 35'184'372'088'832, "the machine's memory",
                             23'100'000'000, "use another one");
            }),
            "the model needs 35.18 TB, and the machine's memory has 23.1 GB free; use another one");
  EXPECT_NO_THROW(require_memory("the model", 5, "the machine's memory", 5, ""));
  const testing::TemporaryDirectory folder;
  const fs::path below = folder.path() / "not/yet/there";
  EXPECT_THAT(
      error_of<ResourceError>([&] { require_disk_space(below, std::int64_t{1} << 60, "it"); }),
      ::testing::MatchesRegex("'" + below.string() +
                              "' needs 1153000 TB for it, and its disk has [0-9.]+ [kMGT]?B(ytes)? "
                              "free; free some space or write somewhere else"));
  EXPECT_NO_THROW(require_disk_space(below, 0, "it"));
}

}  // namespace
}  // namespace corda::core
