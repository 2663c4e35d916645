// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Published adapter_config.json files, where their folder is there (CORDA_SHARED or ../shared
// beside the checkout).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "adapter/peft_config.h"
#include "corda/core/error.h"
#include "support/data_folder.h"
#include "support/error_of.h"

namespace corda::adapter {
namespace {

using ::testing::HasSubstr;

fs::path folder() { return testing::data_folder() / "configs"; }

// What is said of each; "" where it is read.
const std::map<std::string, std::string>& expected() {
  static const std::map<std::string, std::string> table = {
      {"cosmos3-native--aicity2026", "no 'peft_type', so it is not PEFT's"},
      {"mlx--pabloflores465-qwen3-4b", "with 'lora_parameters' it is MLX's"},
      {"mlx--searlion-num_layers-8", "with 'lora_parameters' it is MLX's"},
      {"peft0.11--EDLlyc-kangya-glm4-lora", ""},
      {"peft0.11--EPlus-flan-t5-xxl-r1000", ""},
      {"peft0.15--george-m2-hansard", ""},
      {"peft0.16--Hannah-auto_mapping", ""},
      {"peft0.18.1--heretic-r1", ""},
      {"peft0.19.1--Mar-IA-no-gemma4", ""},
      {"peft0.19.1--branbot6-token-cls",
       "the PEFT option 'modules_to_save' = [\"classifier\",\"score\"] is not supported"},
      {"peft0.19.1--enesmalik22-nonascii-path", ""},
      {"peft0.20.0--s0lstiice-Churro", ""},
      {"peft0.21.0--Unisound-u2_decision_4b", ""},
      {"peft0.3dev--KZ-Shi-LLaMA-E", ""},
      {"peft0.4--MountainAlpha-baichuan2", ""},
      {"peft0.4--tayutayufk-ELYZA-embed", ""},
      {"peft0.6--1350562074-LLM", ""},
      {"peft0.9--LTtt456c-InternLM-xtuner", ""},
      {"peft0.9--bikav-ChatGLM-6b", ""},
      {"tunix--kotlarmilos-gemma3", "no 'peft_type', so it is not PEFT's"},
      {"unsloth--D3voz-joycaption-r64", ""},
      {"unsloth--Jason-Youu-GRPO", ""},
      {"unsloth--TANGHULU6-Llama3-8B-Mob", ""}};
  return table;
}

TEST(PublishedConfigs, AreReadOrRefusedByName) {
  if (!fs::exists(folder())) GTEST_SKIP() << "no data folder at " << folder();
  std::size_t seen = 0;
  for (const auto& entry : fs::directory_iterator(folder())) {
    if (!fs::exists(entry.path() / "adapter_config.json")) continue;
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    ++seen;
    const auto row = expected().find(name);
    ASSERT_NE(row, expected().end()) << "a file that this table does not know";
    const std::string error =
        testing::error_of<core::FormatError>([&] { read_peft_config(entry.path()); });
    if (row->second.empty()) {
      EXPECT_EQ(error, "no error");
    } else {
      EXPECT_THAT(error, HasSubstr(row->second));
    }
  }
  EXPECT_EQ(seen, expected().size());
}

TEST(PublishedConfigs, KeepTheirNumbersAndSelection) {
  if (!fs::exists(folder())) GTEST_SKIP() << "no data folder at " << folder();
  const PeftConfig heretic = read_peft_config(folder() / "peft0.18.1--heretic-r1");
  EXPECT_EQ(heretic.rank, 1);
  EXPECT_EQ(heretic.alpha_of("model.layers.3.mlp.down_proj"), 1);
  EXPECT_EQ(heretic.base_name, "mistralai/Mistral-7B-Instruct-v0.3");
  EXPECT_TRUE(heretic.selection.contains("model.layers.3.mlp.down_proj"));
  EXPECT_FALSE(heretic.selection.contains("model.layers.3.mlp.up_proj"));
  const PeftConfig towers = read_peft_config(folder() / "peft0.19.1--Mar-IA-no-gemma4");
  EXPECT_TRUE(towers.selection.contains("model.language_model.layers.3.self_attn.q_proj"));
  EXPECT_FALSE(towers.selection.contains("model.audio_tower.layers.3.self_attn.q_proj"));
  EXPECT_EQ(read_peft_config(folder() / "peft0.19.1--enesmalik22-nonascii-path").base_name,
            "/Users/halid/Desktop/Arap\u00e7a HTR E\u011fitimi/models/"
            "sherif1313-Arabic-English-handwritten-OCR-v3");
}

}  // namespace
}  // namespace corda::adapter
