// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/captured_log.h"

namespace corda::model {
namespace {

using ::testing::HasSubstr;

// A minimal config with `extra` members added.
std::string config_with(const std::string& extra, const std::string& type = "llama") {
  return R"({"model_type": ")" + type +
         R"(", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4)" +
         extra + "}";
}

std::string error_of(const std::string& json) {
  try {
    parse_model_config(json, "config.json");
  } catch (const core::FormatError& error) {
    return error.what();
  }
  return "no error";
}

TEST(ModelConfig, FillsDefaults) {
  const ModelDescription config = parse_model_config(config_with(""), "config.json");
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.rope_theta, 10000);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.rope_scaling.type, RopeScalingType::kNone);
}

TEST(ModelConfig, ReadsRopeFromOldAndNewKeys) {
  const ModelConfig old_style = parse_model_config(
      config_with(R"(, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4})"), "c");
  EXPECT_EQ(old_style.rope_theta, 5e5);
  EXPECT_EQ(old_style.rope_scaling.type, RopeScalingType::kLinear);
  EXPECT_EQ(old_style.rope_scaling.factor, 4);
  const ModelConfig new_style = parse_model_config(
      config_with(
          R"(, "rope_parameters": {"rope_theta": 1e6, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64})"),
      "c");
  EXPECT_EQ(new_style.rope_theta, 1e6);
  EXPECT_EQ(new_style.rope_scaling.type, RopeScalingType::kLlama3);
  EXPECT_EQ(new_style.rope_scaling.original_max_positions, 64);
}

TEST(ModelConfig, RefusesWhatChangesTheMathematicsByName) {
  EXPECT_THAT(error_of(config_with(R"(, "rope_scaling": {"type": "yarn", "factor": 4})")),
              HasSubstr("'rope_scaling' of type 'yarn' is not implemented"));
  EXPECT_THAT(error_of(config_with(R"(, "hidden_act": "relu2")")),
              HasSubstr("'hidden_act': \"relu2\" is not implemented"));
  EXPECT_THAT(error_of(config_with(R"(, "sliding_window": 4096)", "mistral")),
              HasSubstr("'sliding_window': 4096 is not implemented"));
  EXPECT_THAT(error_of(config_with(R"(, "quantization_config": {"bits": 4})")),
              HasSubstr("'quantization_config'"));
  EXPECT_THAT(error_of(config_with(R"(, "attn_logit_softcapping": 50.0)")),
              HasSubstr("'attn_logit_softcapping': 50.0 is not known to corda"));
  EXPECT_THAT(error_of(config_with(R"(, "rope_scaling": {"type": "linear"})")),
              HasSubstr("type linear needs 'factor'"));
  for (const char* wrong : {"1e300", "64.5", "-1"}) {
    EXPECT_THAT(
        error_of(config_with(
            std::string(
                R"(, "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": )") +
            wrong + "}")),
        HasSubstr("'original_max_position_embeddings' must be a whole number from 1"));
  }
  EXPECT_THAT(error_of(config_with("", "gpt_neox")),
              HasSubstr("the model family 'gpt_neox' is not implemented"));
}

TEST(ModelConfig, ListsEveryProblemAtOnce) {
  const std::string message =
      error_of(R"({"model_type": "llama", "vocab_size": -5, "hidden_size": 64, "mystery": 1})");
  EXPECT_THAT(message, HasSubstr("'vocab_size' must be a whole number"));
  EXPECT_THAT(message, HasSubstr("'intermediate_size' is missing"));
  EXPECT_THAT(message, HasSubstr("'num_hidden_layers' is missing"));
  EXPECT_THAT(message, HasSubstr("'num_attention_heads' is missing"));
  EXPECT_THAT(message, HasSubstr("'mystery'"));
}

TEST(ModelConfig, AWindowIsAsLongAsThePositionsAllowUnlessItIsAskedFor) {
  CapturedLog log;
  const auto window = [&](std::int64_t positions, std::int64_t asked) {
    ModelDescription config;
    config.max_positions = positions;
    return window_tokens(config, asked, log);
  };
  EXPECT_EQ(window(4096, 0), 2048);
  EXPECT_EQ(window(2048, 0), 2048);
  EXPECT_EQ(window(512, 600), 600);
  EXPECT_EQ(log.text, "");
  EXPECT_EQ(window(512, 0), 512);
  EXPECT_THAT(log.text, HasSubstr("info: at most 512 tokens in a window or sample"));
}

TEST(ModelConfig, AcceptsKeysThatSayNothing) {
  EXPECT_EQ(
      error_of(config_with(
          R"(, "sliding_window": null, "attention_dropout": 0.0, "use_cache": true, "_name_or_path": "x", "transformers_version": "5")")),
      "no error");
}

}  // namespace
}  // namespace corda::model
