// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Adapter directories of PEFT: what is read, with PEFT's meaning, and what is refused.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "adapter/module_selection.h"
#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::adapter {
namespace {

using ::corda::testing::error_of;
using ::corda::testing::TemporaryDirectory;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kQ = "model.layers.0.self_attn.q_proj";

// A PEFT directory as PEFT 0.21 writes it, of rank 2 for a [4, 3], with a member replaced.
std::string peft_error(const std::string& key, const core::Json& value,
                       const std::map<std::string, at::Tensor>& tensors = {
                           {"lora_A.weight", at::ones({2, 3})},
                           {"lora_B.weight", at::ones({4, 2})}}) {
  const TemporaryDirectory scratch;
  core::Json config = {{"peft_type", "LORA"},
                       {"r", 2},
                       {"lora_alpha", 4},
                       {"bias", "none"},
                       {"fan_in_fan_out", false},
                       {"use_dora", false},
                       {"lora_dropout", 0.0},
                       {"init_lora_weights", true},
                       {"loftq_config", core::Json::object()},
                       {"target_modules", {"q_proj"}},
                       {"modules_to_save", nullptr}};
  config[key] = value;
  core::write_json(scratch.path() / "adapter_config.json", config);
  std::vector<std::pair<std::string, at::Tensor>> stored;
  for (const auto& [name, tensor] : tensors)
    stored.emplace_back("base_model.model." + kQ + "." + name, tensor);
  io::save_tensors(scratch.path() / "adapter_model.safetensors", stored);
  return error_of<core::FormatError>([&] { read_adapter(scratch.path()); });
}

TEST(PeftFiles, WhatWouldChangeTheMathematicsIsRefusedByName) {
  EXPECT_EQ(peft_error("revision", nullptr), "no error");
  EXPECT_THAT(peft_error("modules_to_save", {"lm_head"}),
              HasSubstr("'modules_to_save' = [\"lm_head\"] is not supported"));
  EXPECT_THAT(peft_error("bias", "all"), HasSubstr("'bias' = \"all\" trains biases"));
  EXPECT_THAT(peft_error("lora_bias", true), HasSubstr("'lora_bias'"));
  EXPECT_THAT(peft_error("init_lora_weights", "pissa_niter_4"),
              HasSubstr("belongs to a residual model"));
  EXPECT_THAT(peft_error("init_lora_weights", "corda"), HasSubstr("belongs to a residual model"));
  EXPECT_THAT(peft_error("something_new", 3), HasSubstr("'something_new' = 3 is not supported"));
  EXPECT_THAT(peft_error("peft_type", "LOHA"),
              HasSubstr("only peft_type LORA can be read; it is \"LOHA\""));
  EXPECT_THAT(peft_error("r", 0), HasSubstr("'r' must be a whole number from 1"));
  EXPECT_THAT(peft_error("r", 1e30), HasSubstr("'r' must be a whole number from 1"));
  EXPECT_THAT(peft_error("lora_alpha", "x"),
              HasSubstr("'lora_alpha' must be a number; it is \"x\""));
}

TEST(PeftFiles, FactorsThatDoNotFitTheConfigurationAreSaidToDoSoInTheirOwnWords) {
  const std::string module = "layer '" + kQ + "' ";
  const std::string other_rank = peft_error("r", 3);
  EXPECT_THAT(other_rank,
              HasSubstr(module + "has rank 2 (lora_A [2, 3] and lora_B [4, 2]), but "
                                 "adapter_config.json says 3 (r or rank_pattern); correct it"));
  EXPECT_THAT(other_rank, Not(HasSubstr("magnitude")));
  const at::Tensor a = at::ones({2, 3});
  const at::Tensor b = at::ones({4, 2});
  const at::Tensor magnitude = at::ones({4});
  EXPECT_THAT(peft_error("r", 2, {{"lora_A.weight", a}, {"lora_B.weight", at::ones({4, 5})}}),
              HasSubstr(module + "has lora_A [2, 3] and lora_B [4, 5], whose ranks, 2 and 5, do "
                                 "not agree"));
  EXPECT_THAT(peft_error("r", 2, {{"lora_A.weight", a}}),
              HasSubstr(module + "has no lora_B; is the file whole?"));
  EXPECT_THAT(peft_error("r", 2, {{"lora_B.weight", b}}), HasSubstr(module + "has no lora_A"));
  EXPECT_THAT(peft_error("r", 2, {{"lora_A.weight", at::ones({2})}, {"lora_B.weight", b}}),
              HasSubstr(module + "has lora_A [2] and lora_B [4, 2], which must be matrices"));
  EXPECT_THAT(peft_error("use_dora", true),
              HasSubstr(module + "has no lora_magnitude_vector, but adapter_config.json says "
                                 "use_dora"));
  const std::map<std::string, at::Tensor> dora = {
      {"lora_A.weight", a}, {"lora_B.weight", b}, {"lora_magnitude_vector", magnitude}};
  EXPECT_THAT(peft_error("use_dora", false, dora),
              HasSubstr(module + "has a lora_magnitude_vector, but adapter_config.json does not "
                                 "say use_dora"));
  EXPECT_EQ(peft_error("use_dora", true, dora), "no error");
  EXPECT_THAT(
      peft_error(
          "use_dora", true,
          {{"lora_A.weight", a}, {"lora_B.weight", b}, {"lora_magnitude_vector", at::ones({3})}}),
      HasSubstr(module + "has lora_magnitude_vector [3] for 4 rows of lora_B"));
}

TEST(PeftFiles, WhatCannotChangeTheMathematicsIsRead) {
  for (const auto& [key, value] : std::initializer_list<std::pair<std::string, core::Json>>{
           {"revision", "main"},
           {"auto_mapping", {{"base_model_class", "X"}}},
           {"eva_config", {{"rho", 2.0}}},
           {"corda_config", {{"corda_method", "ipm"}}},
           {"lora_ga_config", {{"direction", "ArB2r"}}},
           {"loftq_config", {{"loftq_bits", 4}}},
           {"ensure_weight_tying", true},
           {"runtime_config", {{"ephemeral_gpu_offload", true}}},
           {"merge_weights", true},
           {"fan_in_fan_out", true},  // PEFT sets it back for linear layers
           {"init_lora_weights", "gaussian"},
           {"init_lora_weights", "eva"},
           {"init_lora_weights", "mica"},
           {"init_lora_weights", false},
           {"layers_pattern", "layers"},
           {"layers_to_transform", 0},
           {"exclude_modules", {"lm_head"}}}) {
    EXPECT_EQ(peft_error(key, value), "no error") << key;
  }
}

TEST(PeftFiles, WhatPeftComputesOtherwiseIsRefusedByName) {
  const core::Json some = {{"a", 1}};
  for (const auto& [key, value] : std::initializer_list<std::pair<std::string, core::Json>>{
           {"target_parameters", {"mlp.experts"}},
           {"trainable_token_indices", {1, 2}},
           {"layer_replication", {{0, 1}, {0, 1}}},
           {"alora_invocation_tokens", {1}},
           {"use_qalora", true},
           {"use_bdlora", some},
           {"arrow_config", some},
           {"kasa_config", some},
           {"velora_config", some},
           {"monteclora_config", some},
           {"megatron_config", some},
           {"enable_lora", {true, false}},
           {"lora_bias", true}}) {
    EXPECT_THAT(peft_error(key, value),
                HasSubstr("the PEFT option '" + key + "' = " + value.dump() + " is not supported"));
    EXPECT_EQ(peft_error(key, nullptr), "no error") << key;
  }
  for (const char* start : {"pissa", "olora", "corda", "loftq", "lora_ga", "PiSSA"})
    EXPECT_THAT(peft_error("init_lora_weights", start), HasSubstr("belongs to a residual model"));
  EXPECT_THAT(peft_error("init_lora_weights", "new"), HasSubstr("= \"new\" is not known"));
}

TEST(PeftFiles, FilesOfOtherProgramsAreNotCalledPefts) {
  const TemporaryDirectory scratch;
  const auto refusal = [&](const core::Json& config) {
    core::write_json(scratch.path() / "adapter_config.json", config);
    return error_of<core::FormatError>([&] { read_adapter(scratch.path()); });
  };
  EXPECT_THAT(refusal({{"lora_parameters", {{"rank", 8}}}}),
              HasSubstr("no 'peft_type', so it is not PEFT's; with 'lora_parameters' it is MLX's"));
  EXPECT_THAT(refusal({{"rank", 8}}), HasSubstr("no 'peft_type', so it is not PEFT's"));
}

// Tensors of these shapes [rank, 3] and [4, rank].
Adapter read_peft(core::Json config, const std::map<std::string, std::int64_t>& ranks) {
  const TemporaryDirectory scratch;
  config["peft_type"] = "LORA";
  core::write_json(scratch.path() / "adapter_config.json", config);
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [module, rank] : ranks) {
    tensors.emplace_back("base_model.model." + module + ".lora_A.weight", at::ones({rank, 3}));
    tensors.emplace_back("base_model.model." + module + ".lora_B.weight", at::ones({4, rank}));
  }
  io::save_tensors(scratch.path() / "adapter_model.safetensors", tensors);
  return read_adapter(scratch.path());
}

// The first pattern of the file that matches the end of the name counts.
TEST(PeftFiles, PatternsGiveLayersARankAndAnAlphaAsPeftLooksThemUp) {
  const std::map<std::string, std::int64_t> ranks = {{"model.layers.0.self_attn.q_proj", 3},
                                                     {"model.layers.1.self_attn.q_proj", 8},
                                                     {"model.layers.11.self_attn.q_proj", 3},
                                                     {"model.layers.0.self_attn.v_proj", 2},
                                                     {"model.layers.0.mlp.down_proj", 5}};
  core::Json config = {{"r", 2},
                       {"lora_alpha", 4},
                       {"rank_pattern",
                        {{"layers.1.self_attn.q_proj", 8},
                         {"q_proj", 3},
                         {R"(^model\.layers\.\d+\.(?:mlp)\..*)", 5},
                         {"proj", 7}}},
                       {"alpha_pattern", {{"down_proj", 32}, {"mlp.down_proj", 1}}}};
  const auto scale = [&](const std::string& module) {
    const Adapter adapter = read_peft(config, ranks);
    return adapter.scale_of(adapter.layers.at(module));
  };
  EXPECT_DOUBLE_EQ(scale("model.layers.0.self_attn.q_proj"), 4.0 / 3);
  EXPECT_DOUBLE_EQ(scale("model.layers.1.self_attn.q_proj"), 0.5);
  EXPECT_DOUBLE_EQ(scale("model.layers.11.self_attn.q_proj"), 4.0 / 3);
  EXPECT_DOUBLE_EQ(scale("model.layers.0.self_attn.v_proj"), 2);
  EXPECT_DOUBLE_EQ(scale("model.layers.0.mlp.down_proj"), 6.4);
  config["use_rslora"] = true;
  EXPECT_DOUBLE_EQ(scale("model.layers.1.self_attn.q_proj"), 4 / std::sqrt(8.0));
  EXPECT_DOUBLE_EQ(scale("model.layers.0.self_attn.v_proj"), 4 / std::sqrt(2.0));
  EXPECT_DOUBLE_EQ(scale("model.layers.0.mlp.down_proj"), 32 / std::sqrt(5.0));
}

TEST(PeftFiles, PatternsThatCannotBeUsedAreRefused) {
  EXPECT_THAT(peft_error("rank_pattern", {{"(", 2}}),
              HasSubstr("'rank_pattern': the pattern '(.*\\.)?(()' is no regular expression"));
  EXPECT_THAT(peft_error("rank_pattern", {{"q_proj", 0}}),
              HasSubstr("'q_proj' must be a whole number from 1"));
  EXPECT_THAT(peft_error("alpha_pattern", {{"q_proj", "x"}}), HasSubstr("must be a number"));
  EXPECT_THAT(peft_error("rank_pattern", {{"([a-z._0-9]+)+[^a-z]", 2}}),
              HasSubstr("a pattern cannot be matched with '" + kQ + "'"));
  EXPECT_THAT(peft_error("target_modules", std::string(20'000, 'x')), HasSubstr("too long"));
  EXPECT_THAT(peft_error("target_modules", 5), HasSubstr("a pattern or a list of names; it is 5"));
  EXPECT_THAT(peft_error("layers_to_transform", {"0"}), HasSubstr("must be numbers of blocks"));
}

// Answers of check_target_module_exists in PEFT 0.21.
TEST(PeftFiles, SelectionIsPefts) {
  const std::array<std::string, 8> modules = {"model.layers.0.self_attn.q_proj",
                                              "model.layers.1.self_attn.q_proj",
                                              "model.layers.11.self_attn.q_proj",
                                              "model.layers.1.mlp.up_proj",
                                              "lm_head",
                                              "model.vision.layers.1.q_proj",
                                              "layers.1.q_proj",
                                              "model.h.2.attn.3.q_proj"};
  const std::pair<const char*, const char*> cases[] = {
      {"11100111", R"({"target_modules": ["q_proj"]})"},
      {"01000100", R"({"target_modules": ["q_proj"], "layers_to_transform": 1})"},
      {"11001100", R"({"target_modules": ["q_proj", "lm_head"], "layers_to_transform": [0, 1]})"},
      {"01000110",
       R"({"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"})"},
      {"01000111", R"({"target_modules": ["q_proj"], "layers_to_transform": [1, 3],
                       "layers_pattern": ["blocks", "layers", "attn"]})"},
      {"11000100", R"({"target_modules": ["model.layers.0.self_attn.q_proj", "q_proj"],
                       "layers_to_transform": [1]})"},
      {"11010110", R"_({"target_modules": ".*layers\\.\\d\\..*(q_proj|up_proj)"})_"},
      {"00000000", R"({"target_modules": "q_proj"})"},
      {"10100111",
       R"({"target_modules": ["q_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]})"},
      {"10100001",
       R"({"target_modules": ["q_proj", "up_proj"], "exclude_modules": ".*\\.1\\..*"})"},
      {"11100111", R"({"target_modules": ["q_proj"], "layers_to_transform": []})"},
      {"00000000", R"({"target_modules": ["proj"]})"},
      {"00000000", R"({"target_modules": []})"},
      {"00000001",
       R"({"target_modules": ["q_proj"], "layers_to_transform": [2], "layers_pattern": []})"},
      {"11110111", R"({"target_modules": "All-Linear"})"}};
  for (const auto& [expected, config] : cases) {
    SCOPED_TRACE(config);
    const ModuleSelection selection(core::parse_json(config, "x"), "x");
    std::string found;
    for (const auto& module : modules) found += selection.contains(module) ? '1' : '0';
    EXPECT_EQ(found, expected);
  }
}

TEST(PeftFiles, TensorsThatPeftWouldDropAreRefused) {
  EXPECT_THAT(peft_error("exclude_modules", {"q_proj"}), HasSubstr("leaves out"));
  EXPECT_THAT(peft_error("layers_to_transform", {1}), HasSubstr("leaves out"));
  EXPECT_THAT(peft_error("target_modules", core::Json::array()), HasSubstr("leaves out"));
  EXPECT_THAT(peft_error("target_modules", {"v_proj"}),
              HasSubstr("it holds tensors of '" + kQ +
                        "', which 'target_modules' of adapter_config.json leaves out"));
  EXPECT_THAT(peft_error("target_modules", {"proj"}), HasSubstr("leaves out"));
  EXPECT_EQ(peft_error("target_modules", {"v_proj", "self_attn.q_proj"}), "no error");
  EXPECT_EQ(peft_error("target_modules", {kQ}), "no error");
  EXPECT_EQ(peft_error("target_modules", "all-linear"), "no error");
  EXPECT_EQ(peft_error("target_modules", nullptr), "no error");
}

TEST(PeftFiles, RsloraScaleIsAlphaOverRootOfRank) {
  const TemporaryDirectory scratch;
  core::write_json(scratch.path() / "adapter_config.json",
                   {{"peft_type", "LORA"}, {"r", 4}, {"lora_alpha", 6}, {"use_rslora", true}});
  io::save_tensors(
      scratch.path() / "adapter_model.safetensors",
      {{"base_model.model." + kQ + ".lora_A.weight", at::ones({4, 3}).to(at::kHalf)},
       {"base_model.model." + kQ + ".lora_B.weight", at::ones({2, 4}).to(at::kBFloat16)}});
  const Adapter adapter = read_adapter(scratch.path());
  EXPECT_DOUBLE_EQ(adapter.scale(), 3.0);
  EXPECT_EQ(adapter.layers.at(kQ).a.scalar_type(), at::kFloat);
  EXPECT_EQ(adapter.layers.at(kQ).b.scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace corda::adapter
