// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the program says and keeps where the machine's memory runs out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::ProcessResult;

// A token takes a megabyte in the middle of a block, so kLong tokens take more than the whole
// address space that a process gets here, and a few take nothing worth speaking of.
constexpr std::int64_t kIntermediate = 1 << 18;
constexpr int kLong = 20000;
constexpr const char* kAddressSpace = "16777216";  // KB

class OutOfMemory : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "a sanitizer needs more address space than the test allows";
#endif
    corda::testing::write_tiny_model(at("base"), {.vocab = 257,
                                                  .hidden = 16,
                                                  .intermediate = kIntermediate,
                                                  .layers = 1,
                                                  .heads = 2,
                                                  .kv_heads = 1});
    write("long.txt", std::string(kLong, 'a'));
    write("long.jsonl", R"({"prompt": "a", "completion": ")" + std::string(kLong, 'a') + "\"}\n");
    write(
        "short.jsonl",
        "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"c\", \"completion\": \"d\"}\n");
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_.path() / name) << content;
  }

  // The program with little address space.
  static ProcessResult run(const std::vector<std::string>& arguments) {
    std::string line = std::string("ulimit -v ") + kAddressSpace + "; exec " + CORDA_BINARY;
    for (const auto& argument : arguments) line += " '" + argument + "'";
    return testing::run_process({"/bin/sh", "-c", line});
  }

  // Four steps of one sample.
  std::vector<std::string> train(const std::string& data) const {
    write("t.yaml", "model: " + at("base") + "\nmethod: lora\nlora: {rank: 2}\ndata: {train: [" +
                        at(data) + "], max_length: 30000, template: plain}\noptim: {lr: 1.0e-3, " +
                        "batch_size: 1, epochs: 2}\ndevice: cpu\nthreads: 1\nout: " + at("run"));
    return {"train", "--config", at("t.yaml")};
  }

  testing::TemporaryDirectory folder_;
};

TEST_F(OutOfMemory, IsAResourceErrorWithAdvice) {
  const ProcessResult result = run({"eval", "--model", at("base"), "--data", at("long.txt"),
                                    "--seq-len", "30000", "--device", "cpu", "--threads", "1"});
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(
      result.err,
      HasSubstr("corda: error: the machine's memory ran out; lower --batch-tokens or --seq-len, or "
                "use a device with more free memory (--device) (DefaultCPUAllocator: can't "
                "allocate memory"));
  EXPECT_EQ(result.out, "");
}

TEST_F(OutOfMemory, OfATrainingNamesTheSettingsThatHelp) {
  const ProcessResult result = run(train("long.jsonl"));
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("corda: error: the machine's memory "));
  EXPECT_THAT(result.err, HasSubstr("start anew and lower data.max_length (DefaultCPUAllocator"));
  EXPECT_FALSE(fs::exists(at("run/adapter")));
}

TEST_F(OutOfMemory, OfAnEvaluationKeepsTheLastStepForResume) {
  auto command = train("short.jsonl");
  command.insert(command.end(),
                 {"--set", "data.eval=" + at("long.jsonl"), "--set", "eval.every=3"});
  const ProcessResult result = run(command);
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("the machine's memory ran out in the evaluation after step 3"));
  EXPECT_THAT(result.err, HasSubstr("the state after step 3 is saved"));
  EXPECT_FALSE(fs::exists(at("run/adapter")));
  command.insert(command.end(), {"--set", "data.eval=" + at("short.jsonl"), "--resume"});
  const ProcessResult resumed = run(command);
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resuming after step 3 of 4"));
}

}  // namespace
}  // namespace corda
