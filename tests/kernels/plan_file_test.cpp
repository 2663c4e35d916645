// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is kept of tuned products is what was found, or nothing.
#include "kernels/plan_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "support/temporary_directory.h"

namespace corda::kernels {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCard = "NVIDIA H200, driver 580, cuBLASLt 130100";

PlanKey key_of(std::int64_t m) {
  return {.m = m, .n = 576, .k = 64, .transposed_b = true, .fp32_out = true, .alignment = 16};
}

StoredAlgorithm algorithm_of(int first) {
  StoredAlgorithm algorithm{};
  for (std::size_t i = 0; i < algorithm.size(); ++i)
    algorithm[i] = static_cast<std::uint8_t>(first + 5 * static_cast<int>(i));
  return algorithm;
}

class PlanFile : public ::testing::Test {
 protected:
  fs::path directory() const { return folder_.path() / "cache" / "corda"; }
  fs::path file() const { return plan_file(directory(), kCard); }
  StoredPlans kept() const { return read_plans(directory(), kCard); }
  void keep(const StoredPlans& plans) const { keep_plans(directory(), kCard, plans); }

  testing::TemporaryDirectory folder_;
};

TEST_F(PlanFile, ReadsWhatWasKept) {
  EXPECT_TRUE(kept().empty());
  const StoredPlans plans = {{key_of(512), algorithm_of(3)}, {key_of(1024), algorithm_of(200)}};
  keep(plans);
  EXPECT_EQ(kept(), plans);
}

TEST_F(PlanFile, IsOfOneCardAndVersion) {
  keep({{key_of(512), algorithm_of(3)}});
  EXPECT_TRUE(read_plans(directory(), "NVIDIA H200, driver 581, cuBLASLt 130100").empty());
  // Even where the names of the files were one.
  const std::string other = "NVIDIA A100, driver 580, cuBLASLt 130100";
  fs::copy_file(file(), plan_file(directory(), other));
  EXPECT_TRUE(read_plans(directory(), other).empty());
}

TEST_F(PlanFile, WhatSeveralProcessesFoundIsKeptTogetherAndTheLastWins) {
  keep({{key_of(512), algorithm_of(3)}, {key_of(640), algorithm_of(4)}});
  keep({{key_of(640), algorithm_of(9)}, {key_of(768), algorithm_of(5)}});
  EXPECT_EQ(kept(), (StoredPlans{{key_of(512), algorithm_of(3)},
                                 {key_of(640), algorithm_of(9)},
                                 {key_of(768), algorithm_of(5)}}));
}

TEST_F(PlanFile, ADamagedOneIsIgnoredAndWrittenAnew) {
  const StoredPlans plans = {{key_of(512), algorithm_of(3)}};
  keep(plans);
  const std::string whole = core::read_file(file());
  ASSERT_GT(whole.size(), 300U);
  for (std::size_t at = 0; at < whole.size(); at += 7) {
    std::string damaged = whole;
    damaged[at] = damaged[at] == '1' ? '2' : '1';
    core::write_file_atomic(file(), damaged);
    const StoredPlans found = kept();
    EXPECT_TRUE(found.empty() || found == plans) << "byte " << at;
    if (at + 1 == whole.size()) continue;  // without the line break at the end it is whole
    core::write_file_atomic(file(), whole.substr(0, at));
    EXPECT_TRUE(kept().empty()) << "cut at " << at;
  }
  const StoredPlans others = {{key_of(64), algorithm_of(1)}};
  keep(others);
  EXPECT_EQ(kept(), others);
}

TEST_F(PlanFile, WhatIsNoRegularFileIsNotRead) {
  fs::create_directories(directory());
  ASSERT_EQ(::mkfifo(file().c_str(), 0600), 0);
  EXPECT_TRUE(kept().empty());  // and nobody waits for a writer
  fs::remove(file());
  fs::create_directory(file());
  EXPECT_TRUE(kept().empty());
}

TEST_F(PlanFile, ADirectoryThatCannotBeMadeIsAResourceError) {
  std::ofstream(folder_.path() / "cache") << "a file";
  EXPECT_THROW(keep({{key_of(512), algorithm_of(3)}}), core::ResourceError);
  EXPECT_TRUE(kept().empty());
}

}  // namespace
}  // namespace corda::kernels
