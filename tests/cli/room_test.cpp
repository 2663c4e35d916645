// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What no machine has room for is refused by every verb before it begins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "corda/io/safetensors.h"
#include "core/json.h"
#include "support/process.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using Layouts = std::vector<std::pair<std::string, io::SafetensorsLayout>>;

constexpr std::int64_t kHidden = std::int64_t{1} << 21;
constexpr std::int64_t kVocab = 257;
constexpr std::int64_t kHead = 128;
constexpr std::int64_t kIntermediate = 16;

// Files that are nearly all hole, so that a model of 17.6 TB stands on any disk.
class Room : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(at("base"), {.vocab = kVocab});
    fs::remove(folder_.path() / "base/model.safetensors");
    core::Json config = core::read_json(folder_.path() / "base/config.json");
    config["hidden_size"] = kHidden;
    config["intermediate_size"] = kIntermediate;
    config["num_hidden_layers"] = 1;
    config["num_attention_heads"] = kHidden / kHead;
    config["num_key_value_heads"] = 1;
    config["head_dim"] = kHead;
    core::write_json(folder_.path() / "base/config.json", config);
    if (!write_weights()) GTEST_SKIP() << "this file system has no files of 9 TB with holes";
    if (fs::space(folder_.path()).available > std::uintmax_t{2} << 40)
      GTEST_SKIP() << "this disk has room for everything";
    std::ofstream(folder_.path() / "text.txt") << std::string(400, 'a');
    std::ofstream(folder_.path() / "task.jsonl") << R"({"prompt": "a", "completion": "b"})"
                                                 << "\n";
  }

  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  bool write_weights() const {
    const std::string block = "model.layers.0.";
    Layouts files(3);
    const auto declare = [&](std::size_t file, const std::string& name,
                             const std::vector<std::int64_t>& shape) {
      files[file].second.declare(name, io::DType::kBF16, shape);
    };
    declare(0, "model.embed_tokens.weight", {kVocab, kHidden});
    declare(0, "lm_head.weight", {kVocab, kHidden});
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"})
      declare(0, block + norm, {kHidden});
    declare(0, "model.norm.weight", {kHidden});
    for (const char* name : {"self_attn.k_proj.weight", "self_attn.v_proj.weight"})
      declare(0, block + name, {kHead, kHidden});
    for (const char* name : {"mlp.gate_proj.weight", "mlp.up_proj.weight"})
      declare(0, block + name, {kIntermediate, kHidden});
    declare(0, block + "mlp.down_proj.weight", {kHidden, kIntermediate});
    declare(1, block + "self_attn.q_proj.weight", {kHidden, kHidden});
    declare(2, block + "self_attn.o_proj.weight", {kHidden, kHidden});
    core::Json map = core::Json::object();
    for (std::size_t i = 0; i < files.size(); ++i) {
      files[i].first = "model-0000" + std::to_string(i + 1) + "-of-00003.safetensors";
      for (const auto& [name, info] : files[i].second.tensors()) map[name] = files[i].first;
    }
    core::write_json(folder_.path() / "base/model.safetensors.index.json",
                     {{"metadata", core::Json::object()}, {"weight_map", map}});
    return write_with_holes("base", files);
  }

  bool write_with_holes(const std::string& directory, const Layouts& files) const {
    for (const auto& [name, layout] : files) {
      const fs::path path = folder_.path() / directory / name;
      const std::string header = layout.header();
      std::ofstream(path) << header;
      std::error_code error;
      fs::resize_file(path, header.size() + static_cast<std::uintmax_t>(layout.data_bytes()),
                      error);
      if (error) return false;
    }
    return true;
  }

  // A LoRA of PEFT's on one layer of the block's attention, fp32.
  bool write_adapter(const std::string& name, const std::string& layer, std::int64_t out,
                     std::int64_t rank) const {
    fs::create_directory(folder_.path() / name);
    core::write_json(folder_.path() / name / "adapter_config.json",
                     {{"peft_type", "LORA"},
                      {"r", rank},
                      {"lora_alpha", rank},
                      {"target_modules", {layer}},
                      {"base_model_name_or_path", at("base")}});
    const std::string module = "base_model.model.model.layers.0.self_attn." + layer;
    io::SafetensorsLayout layout;
    layout.declare(module + ".lora_A.weight", io::DType::kF32, {rank, kHidden});
    layout.declare(module + ".lora_B.weight", io::DType::kF32, {out, rank});
    return write_with_holes(name, {{"adapter_model.safetensors", layout}});
  }

  // That the verb ends with code 5 and one sentence, and leaves nothing.
  void expect_refusal(std::vector<std::string> command, const std::string& sentence) const {
    if (command[0] != "train") command.insert(command.end(), {"--threads", "1"});
    const bool on_device = command[0] != "merge" && command[0] != "quantize" &&
                           command[0] != "export" && command[0] != "train";
    if (on_device) command.insert(command.end(), {"--device", "cpu"});
    const testing::ProcessResult result = testing::run_corda(command);
    EXPECT_EQ(result.exit_code, 5) << result.err;
    const std::size_t error = result.err.rfind("corda: error: ");
    ASSERT_NE(error, std::string::npos) << result.err;
    const std::string said = result.err.substr(error);
    EXPECT_THAT(said, MatchesRegex("corda: error: " + sentence + "\n")) << command[0];
    EXPECT_FALSE(fs::exists(at("out"))) << command[0];
  }
  static std::string of_disk(const std::string& need) {
    return "'[^']*' needs " + need +
           ", and its disk has [0-9.]+ [kMGT]B free; free some space or write somewhere else";
  }
  static std::string of_memory(const std::string& need, const std::string& advice) {
    return need + ", and the machine's memory has [0-9.]+ [MGT]B free; " + advice;
  }

  testing::TemporaryDirectory folder_;
};

constexpr const char* kOtherDevice = "use a device with more free memory \\(--device\\)";

// The packed triangles of three inputs of 2^21 features; that of 16 is nothing beside them.
TEST_F(Room, OnTheDiskIsLookedForBeforeCalibrating) {
  expect_refusal({"calibrate", "--model", at("base"), "--data", at("text.txt"), "--samples", "1",
                  "--seq-len", "8", "--out", at("out")},
                 of_disk("26.39 TB for the covariances of 4 sites"));
}

TEST_F(Room, OnTheDiskIsLookedForBeforeDecomposing) {
  expect_refusal({"decompose", "--method", "pissa", "--model", at("base"), "--rank", "65536",
                  "--target-modules", "q_proj", "--out", at("out")},
                 of_disk("2.199 TB"));
}

TEST_F(Room, InMemoryIsLookedForBeforeDecomposing) {
  expect_refusal(
      {"decompose", "--method", "pissa", "--model", at("base"), "--rank", "1", "--target-modules",
       "q_proj", "--out", at("out")},
      of_memory("the largest site, covariances and weights needs 8.796 TB", kOtherDevice));
  expect_refusal(
      {"decompose", "--model", at("base"), "--rank", "1", "--data", at("text.txt"), "--samples",
       "1", "--seq-len", "8", "--target-modules", "k_proj", "--out", at("out")},
      of_memory("a block of the model with its covariances needs 52.78 TB", kOtherDevice));
}

TEST_F(Room, OnTheDiskAndInMemoryIsLookedForBeforeTraining) {
  std::ofstream(at("run.yaml")) << "model: " << at("base") << "\nmethod: lora\n"
                                << "lora: {rank: 1, target_modules: [k_proj]}\ndata: {train: ["
                                << at("task.jsonl")
                                << "], template: plain}\noptim: {lr: 1.0e-3}\ndevice: cpu\nout: "
                                << at("out") << "\n";
  const auto train = [&](const std::vector<std::string>& changes) {
    std::vector<std::string> command = {"train", "--config", at("run.yaml")};
    for (const std::string& change : changes) command.insert(command.end(), {"--set", change});
    return command;
  };
  expect_refusal(train({}), of_memory("the model with what is trained, gradients and moments needs "
                                      "35.19 TB",
                                      "set base to nf4, or use a device with more free memory"));
  expect_refusal(train({"base=nf4"}),
                 of_memory("the model with what is trained, gradients and moments needs 4.5[0-9]* "
                           "TB",
                           "lower lora.rank, or use a device with more free memory"));
  expect_refusal(train({"lora.rank=65536", "lora.target_modules=[q_proj,o_proj]"}),
                 of_disk("2.199 TB for the result"));
  expect_refusal(train({"precision=fp8"}),
                 of_memory("the model with what is trained, gradients and moments needs 17.6 TB",
                           "set base to nf4, or use a device with more free memory"));
  // Of a run for another machine the rest is still checked.
  const auto dry_run = [&](std::vector<std::string> command,
                           const std::vector<std::string>& more = {}) {
    command.emplace_back("--dry-run");
    command.insert(command.end(), more.begin(), more.end());
    const testing::ProcessResult result = testing::run_corda(command);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.err;
  };
  constexpr const char* kOneRank = "this dry run is of one rank";
  const std::string plain = dry_run(train({}));
  EXPECT_THAT(plain, HasSubstr("needs 35.19 TB"));
  EXPECT_THAT(plain, Not(HasSubstr(kOneRank)));
  const std::string split = dry_run(train({"shard=true"}));
  EXPECT_THAT(split, HasSubstr("needs 35.19 TB"));
  EXPECT_THAT(split, HasSubstr(kOneRank));
  // The ranks of a machine share its memory.
  EXPECT_THAT(dry_run(train({}), {"--gpus", "2"}), HasSubstr("of 2 ranks, needs 70.38 TB"));
}

TEST_F(Room, OnTheDiskAndInMemoryIsLookedForBeforeMerging) {
  ASSERT_TRUE(write_adapter("small", "k_proj", kHead, 1));
  ASSERT_TRUE(write_adapter("large", "q_proj", kHidden, 1));
  const auto merge = [&](const char* adapter) -> std::vector<std::string> {
    return {"merge", "--model", at("base"), "--adapter", at(adapter), "--out", at("out")};
  };
  expect_refusal(merge("small"), of_disk("17.6 TB"));
  expect_refusal(merge("large"),
                 of_memory("the largest layer, in fp32 as it is and merged needs 35.18 TB",
                           "use a machine with more memory"));
}

TEST_F(Room, InMemoryIsLookedForBeforeQuantising) {
  expect_refusal({"quantize", "--model", at("base"), "--to", "nf4", "--out", at("out")},
                 of_memory("the largest layer needs 2.199 TB", "use a machine with more memory"));
}

TEST_F(Room, OnTheDiskIsLookedForBeforeExporting) {
  ASSERT_TRUE(write_adapter("huge", "q_proj", kHidden, std::int64_t{1} << 19));
  for (const char* format : {"peft", "gguf"}) {
    expect_refusal({"export", "--adapter", at("huge"), "--model", at("base"), "--format", format,
                    "--out", at("out")},
                   of_disk("8.796 TB for the adapter"));
  }
}

TEST_F(Room, InMemoryIsLookedForBeforeAModelIsLoaded) {
  const std::string dtype = "give --dtype bf16, or ";
  const std::string model = "the model '" + at("base") + "' with weights in ";
  expect_refusal(
      {"eval", "--model", at("base"), "--task", "perplexity", "--data", at("text.txt"), "--seq-len",
       "8"},
      of_memory(model + "fp32 needs 35.19 TB", dtype + "give --base nf4, or " + kOtherDevice));
  expect_refusal(
      {"eval", "--model", at("base"), "--task", "perplexity", "--data", at("text.txt"), "--seq-len",
       "8", "--dtype", "bf16"},
      of_memory(model + "bf16 needs 17.6 TB", "give --base nf4, or " + std::string(kOtherDevice)));
  expect_refusal({"generate", "--model", at("base"), "--prompt", "a"},
                 of_memory(model + "fp32 needs 35.19 TB", dtype + kOtherDevice));
}

}  // namespace
}  // namespace corda
