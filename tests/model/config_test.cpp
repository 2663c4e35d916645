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
using ::testing::Not;

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

TEST(ReadConfig, FillsDefaults) {
  const ModelDescription model = parse_model_config(config_with(""), "config.json");
  EXPECT_EQ(model.attention.kv_heads, 4);
  EXPECT_EQ(model.attention.head_dim, 16);
  EXPECT_EQ(model.attention.scale, 0.25);
  EXPECT_EQ(model.rotaries.at(0).theta, 10000);
  EXPECT_EQ(model.rotaries.at(0).type, RopeType::kDefault);
  EXPECT_EQ(model.norm_eps, 1e-6);
  EXPECT_FALSE(model.tied);
  EXPECT_EQ(model.num_layers(), 2);
}

TEST(ReadConfig, ReadsRopeFromOldAndNewKeys) {
  const ModelDescription old_style = parse_model_config(
      config_with(R"(, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4})"), "c");
  EXPECT_EQ(old_style.rotaries.at(0).theta, 5e5);
  EXPECT_EQ(old_style.rotaries.at(0).type, RopeType::kLinear);
  EXPECT_EQ(old_style.rotaries.at(0).factor, 4);
  const ModelDescription new_style = parse_model_config(
      config_with(
          R"(, "rope_parameters": {"rope_theta": 1e6, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 64})"),
      "c");
  EXPECT_EQ(new_style.rotaries.at(0).theta, 1e6);
  EXPECT_EQ(new_style.rotaries.at(0).type, RopeType::kLlama3);
  EXPECT_EQ(new_style.rotaries.at(0).original_positions, 64);
}

TEST(ReadConfig, RefusesWhatChangesTheMathematicsByName) {
  EXPECT_THAT(error_of(config_with(R"(, "rope_scaling": {"type": "su", "factor": 4})")),
              HasSubstr("'rope_scaling' of type 'su' is not implemented"));
  EXPECT_THAT(error_of(config_with(R"(, "hidden_act": "relu2")")),
              HasSubstr("'hidden_act': \"relu2\" is not implemented"));
  EXPECT_THAT(error_of(config_with(R"(, "quantization_config": {"quant_method": "hqq"})")),
              HasSubstr("'quantization_config': weights quantised by 'hqq' are not read"));
  EXPECT_THAT(error_of(config_with(R"(, "attn_logit_softcapping": 50.0)")),
              HasSubstr("'attn_logit_softcapping': 50.0 changes the mathematics of a model and is "
                        "not implemented for llama"));
  EXPECT_THAT(error_of(config_with(R"(, "is_causal": false)")), HasSubstr("'is_causal': false"));
  EXPECT_THAT(error_of(config_with(R"(, "rope_scaling": {"type": "linear"})")),
              HasSubstr("type linear needs 'factor'"));
  for (const char* wrong : {"1e300", "64.5", "-1"}) {
    EXPECT_THAT(
        error_of(config_with(
            std::string(
                R"(, "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": )") +
            wrong + "}")),
        HasSubstr("original_max_position_embeddings' must be a whole number from 1"));
  }
  EXPECT_THAT(error_of(config_with("", "gpt_neox")),
              HasSubstr("the model family 'gpt_neox' is not implemented"));
}

TEST(ReadConfig, MixturesOfExpertsAndStateSpaceModelsAreRefusedByName) {
  for (const std::string type :
       {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "granitemoe", "phimoe", "deepseek_v3",
        "gpt_oss", "llama4_text", "mamba", "mamba2", "falcon_mamba", "jamba", "bamba", "zamba2",
        "falcon_h1", "granitemoehybrid", "recurrent_gemma", "qwen3_next"}) {
    EXPECT_THAT(error_of(config_with("", type)),
                HasSubstr("the model family '" + type + "' is not implemented"));
  }
  // A dense family's name over a mixture.
  EXPECT_THAT(error_of(config_with(R"(, "num_local_experts": 8)")),
              HasSubstr("'num_local_experts': 8"));
}

TEST(ReadConfig, ListsEveryProblemAtOnce) {
  const std::string message = error_of(
      R"({"model_type": "llama", "vocab_size": -5, "hidden_size": 64, "num_attention_heads": 3, "alibi": true})");
  EXPECT_THAT(message, HasSubstr("'vocab_size' must be a whole number"));
  EXPECT_THAT(message, HasSubstr("'hidden_size' 64 is no multiple of 'num_attention_heads' 3"));
  EXPECT_THAT(message, HasSubstr("'alibi'"));
}

TEST(ReadConfig, KeysThatNobodyKnowsGiveOneNote) {
  const ModelDescription model = parse_model_config(
      config_with(R"(, "mystery": 1, "is_llama_config": true, "a_tools_own": {"x": 1})"), "c");
  EXPECT_THAT(model.notes,
              ::testing::ElementsAre(
                  "config.json has keys that change nothing here: mystery, a_tools_own"));
}

TEST(ReadConfig, MembersOfTheRotationThatNoTypeUsesStandInTheSameNote) {
  const ModelDescription model = parse_model_config(
      config_with(
          R"(, "mystery": 1, "rope_scaling": {"type": "linear", "factor": 4, "finetuned": true, "attn_factor": 2})"),
      "c");
  EXPECT_EQ(model.rotaries.at(0).factor, 4);
  EXPECT_THAT(model.notes,
              ::testing::ElementsAre("config.json has keys that change nothing here: "
                                     "rope_scaling.finetuned, rope_scaling.attn_factor, mystery"));
}

TEST(ReadConfig, AMemberOfAnotherTypeOfRotationIsRefusedByNameWithWhatTransformersDoes) {
  EXPECT_THAT(
      error_of(config_with(
          R"(, "rope_parameters": {"rope_type": "linear", "factor": 4, "beta_fast": 32})")),
      HasSubstr("'rope_parameters': the key 'beta_fast' is of another type than its own, linear; "
                "transformers ignores it: remove it for the same, or correct the type"));
}

TEST(ReadConfig, AKeyThatTransformersIgnoresIsRefusedWithTheWayToIgnoreItToo) {
  EXPECT_THAT(error_of(config_with(R"(, "sliding_window": 4096)")),
              HasSubstr("'sliding_window': 4096 changes the mathematics of a model and is not "
                        "implemented for llama; transformers ignores it for this family: remove "
                        "the key, or set it to null, for the same"));
  // These do something in transformers too.
  EXPECT_THAT(error_of(config_with(R"(, "is_causal": false)")), Not(HasSubstr("ignores")));
  const std::string both_ways = R"(, "use_bidirectional_attention": true)";
  EXPECT_THAT(error_of(config_with(both_ways, "gemma")), Not(HasSubstr("ignores")));
  EXPECT_THAT(error_of(config_with(both_ways)), HasSubstr("ignores"));
}

TEST(ReadConfig, AFamilySpeltInAnotherWayIsHintedAtAndAnotherModelIsNot) {
  EXPECT_THAT(error_of(config_with("", "LLaMA")), HasSubstr("did you mean 'llama'?"));
  EXPECT_THAT(error_of(config_with("", "Gemma-3 text")), HasSubstr("did you mean 'gemma3_text'?"));
  EXPECT_THAT(error_of(config_with("", "gemma4")), Not(HasSubstr("did you mean")));
}

TEST(ReadConfig, AModelOfAnotherFamilyIsReadAsTheOneThatIsAssumed) {
  const ModelDescription model =
      parse_model_config(config_with("", "my_llama"), "c", /*assume_family=*/"llama");
  EXPECT_EQ(model.family, "llama");
  EXPECT_THAT(model.notes, ::testing::ElementsAre("'my_llama' is read as llama, as asked"));
  try {
    parse_model_config(config_with(""), "c", "lama");
    FAIL() << "no error";
  } catch (const core::ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("(did you mean 'llama'?)"));
  }
  // A model that sees is assumed by its own name, and its text_config read.
  const std::string seen = R"({"model_type": "mine", "text_config": {"num_hidden_layers": 3}})";
  const ModelDescription tower = parse_model_config(seen, "c", "gemma3");
  EXPECT_TRUE(tower.is_tower);
  EXPECT_EQ(tower.num_layers(), 3);
}

TEST(ReadConfig, AWindowIsAsLongAsThePositionsAllowUnlessItIsAskedFor) {
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

TEST(ReadConfig, AcceptsKeysThatSayNothing) {
  EXPECT_EQ(
      error_of(config_with(
          R"(, "sliding_window": null, "attention_dropout": 0.0, "use_cache": true, "_name_or_path": "x", "transformers_version": "5")")),
      "no error");
}

}  // namespace
}  // namespace corda::model
