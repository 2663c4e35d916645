// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What calibrate, decompose and merge hold of a model on the CPU, as they report it themselves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;

class Memory : public ::testing::Test {
 protected:
  void SetUp() override {
    // By default glibc keeps freed blocks of up to 32 MB for itself, more or fewer of them by luck.
    ::setenv("MALLOC_MMAP_THRESHOLD_", "1000000", /*overwrite=*/1);
    std::ofstream file(at("text.txt"));
    for (int i = 0; i < 400; ++i) file << "line " << i * i << " of many\n";
  }

  void TearDown() override { ::unsetenv("MALLOC_MMAP_THRESHOLD_"); }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  // Blocks of 4 x 256 x 256 + 3 x 256 x 1024 numbers in fp32: 4.2 MB.
  void write_model(std::int64_t layers) const {
    corda::testing::write_tiny_model(at(std::to_string(layers)), {.vocab = 257,
                                                                  .hidden = 256,
                                                                  .intermediate = 1024,
                                                                  .layers = layers,
                                                                  .heads = 4,
                                                                  .kv_heads = 4});
  }

  std::int64_t peak_of(std::vector<std::string> arguments, std::int64_t layers,
                       const std::string& out = "out") const {
    for (const std::string& argument :
         {std::string("--model"), at(std::to_string(layers)), std::string("--threads"),
          std::string("1"), std::string("--device"), std::string("cpu"), std::string("--out"),
          at(out), std::string("--json")})
      arguments.push_back(argument);
    const testing::ProcessResult result = testing::run_corda(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    if (arguments[0] == "decompose" && out == "out") fs::remove_all(at(out));
    return core::parse_json(result.out, arguments[0]).at("peak_memory_bytes").get<std::int64_t>();
  }

  testing::TemporaryDirectory folder_;
};

// 24 blocks more are 101 MB of weights, a quarter of which is allowed for what grows with a model's
// names and reports.
TEST_F(Memory, DoesNotGrowWithTheBlocksOfAModel) {
  constexpr std::int64_t kFew = 2;
  constexpr std::int64_t kMany = 26;
  constexpr std::int64_t kAllowed = 25000000;
  const std::vector<std::string> draw = {"--data", at("text.txt"), "--samples",
                                         "4",      "--seq-len",    "32"};
  std::vector<std::string> streamed = {"decompose", "--rank", "4", "--target-modules", "o_proj"};
  streamed.insert(streamed.end(), draw.begin(), draw.end());
  std::vector<std::string> calibrate = {"calibrate"};
  calibrate.insert(calibrate.end(), draw.begin(), draw.end());
  write_model(kFew);
  write_model(kMany);
  const std::int64_t few = peak_of(streamed, kFew);
  EXPECT_LT(peak_of(streamed, kMany), few + kAllowed);
  const std::int64_t calibrating = peak_of(calibrate, kFew);
  fs::rename(at("out"), at("few"));
  EXPECT_LT(peak_of(calibrate, kMany), calibrating + kAllowed);
  fs::rename(at("out"), at("many"));
  const auto from_disk = [&](const char* covariance) -> std::vector<std::string> {
    return {"decompose", "--rank",       "4",           "--target-modules", "gate_proj", "up_proj",
            "down_proj", "--covariance", at(covariance)};
  };
  const std::int64_t reading = peak_of(from_disk("few"), kFew);
  EXPECT_LT(peak_of(from_disk("many"), kMany), reading + kAllowed);
}

// A verified merge runs two models: the merged one, and its base under the adapter.
TEST_F(Memory, OfAVerifiedMergeDoesNotGrowWithTheBlocks) {
  constexpr std::int64_t kAllowed = 25000000;  // of 202 MB
  const auto merging = [&](std::int64_t layers) {
    write_model(layers);
    peak_of({"decompose", "--method", "pissa", "--rank", "4", "--target-modules", "o_proj"}, layers,
            "adapter" + std::to_string(layers));
    return peak_of({"merge", "--verify", "--adapter", at("adapter" + std::to_string(layers))},
                   layers, "merged" + std::to_string(layers));
  };
  const std::int64_t few = merging(2);
  EXPECT_LT(merging(26), few + kAllowed);
}

// A process starts with the peak of the one that it was forked from, as getrusage counts.
TEST_F(Memory, IsTheProcesssOwn) {
  constexpr std::size_t kParent = std::size_t{3} << 29;
  write_model(2);
  const std::vector<char> large(kParent, 1);
  EXPECT_LT(
      peak_of({"decompose", "--method", "pissa", "--rank", "4", "--target-modules", "o_proj"}, 2),
      static_cast<std::int64_t>(kParent));
  EXPECT_EQ(large.back(), 1);
}

}  // namespace
}  // namespace corda
