// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/foreign_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "corda/core/error.h"
#include "corda/train/settings.h"
#include "support/error_of.h"

namespace corda::train {
namespace {

using ::corda::testing::error_of;
using ::testing::HasSubstr;

// Names that configurations of Hugging Face's Trainer, PEFT, TRL, axolotl, LLaMA-Factory and
// Unsloth begin with.
const std::vector<std::string> kNames = {"gradient_accumulation_steps",
                                         "load_in_4bit",
                                         "load_in_8bit",
                                         "report_to",
                                         "learning_rate",
                                         "per_device_train_batch_size",
                                         "num_train_epochs",
                                         "num_epochs",
                                         "lora_r",
                                         "lora_alpha",
                                         "lora_dropout",
                                         "lora_target_linear",
                                         "bf16",
                                         "fp16",
                                         "save_steps",
                                         "logging_steps",
                                         "warmup_steps",
                                         "lr_scheduler_type",
                                         "lr_scheduler",
                                         "cutoff_len",
                                         "gradient_checkpointing",
                                         "deepspeed",
                                         "flash_attention",
                                         "max_seq_length",
                                         "sample_packing",
                                         "val_set_size",
                                         "early_stopping_patience",
                                         "load_best_model_at_end",
                                         "model_name_or_path",
                                         "base_model",
                                         "output_dir",
                                         "resume_from_checkpoint",
                                         "wandb_project",
                                         "sequence_len",
                                         "micro_batch_size",
                                         "finetuning_type",
                                         "eval_steps",
                                         "save_total_limit",
                                         "train_on_inputs",
                                         "chat_template",
                                         "max_grad_norm",
                                         "optimizer",
                                         "adam_beta1",
                                         "datasets",
                                         "quantization_bit",
                                         "use_rslora",
                                         "loraplus_lr_ratio",
                                         "use_eaft_loss",
                                         "eaft_alpha",
                                         "modules_to_save",
                                         "fsdp",
                                         "neftune_noise_alpha",
                                         "push_to_hub",
                                         "dataset_text_field",
                                         "data.path",
                                         "unfreeze",
                                         "strict",
                                         "lisa",
                                         "fp8",
                                         "kto"};

TEST(ForeignSettings, AreRefusedWithWhatTakesTheirPlace) {
  for (const std::string& name : kNames) {
    EXPECT_NE(foreign_setting(name), "") << name;
    TrainSettings settings;
    const std::string error = error_of<core::ConfigError>(
        [&] { settings_of(settings).read(core::parse_yaml(name + ": 1", "t.yaml")); });
    EXPECT_EQ(error, "t.yaml:1: unknown setting '" + name + "': " + foreign_setting(name));
  }
  EXPECT_THAT(foreign_setting("gradient_accumulation_steps"),
              HasSubstr("optim.batch_size is the samples of a whole optimizer step"));
  EXPECT_EQ(foreign_setting("optim.learning-rate"), "use optim.lr");
  EXPECT_THAT(foreign_setting("fp8"), HasSubstr("use precision: fp8"));
  EXPECT_EQ(foreign_setting("data.path"), "use data.train, a list of files");
  EXPECT_EQ(foreign_setting("path"), "") << "of other groups than data";
  EXPECT_EQ(foreign_setting("lrr"), "");
}

// A pointer to a setting that is not there would lead astray.
TEST(ForeignSettings, NameOnlySettingsThatThereAre) {
  TrainSettings settings;
  const core::SettingsList list = settings_of(settings);
  const std::regex name("(lora|data|optim|loss|eval|checkpoint)\\.[a-z_]+");
  int found = 0;
  for (const std::string& foreign : kNames) {
    const std::string here = foreign_setting(foreign);
    for (std::sregex_iterator it(here.begin(), here.end(), name); it != std::sregex_iterator();
         ++it) {
      ++found;
      EXPECT_NE(list.find(it->str()), nullptr) << foreign << ": " << it->str();
    }
  }
  EXPECT_GT(found, 25);
}

TEST(ForeignSettings, NoneIsASettingHere) {
  TrainSettings settings;
  const core::SettingsList list = settings_of(settings);
  for (const auto& item : list.items()) {
    if (item.name.find('.') != std::string::npos) continue;
    EXPECT_EQ(foreign_setting(item.name), "") << item.name;
  }
}

TEST(ForeignSettings, OptimWithAWordGetsThePointerToo) {
  TrainSettings settings;
  EXPECT_THAT(error_of<core::ConfigError>([&] {
                settings_of(settings).read(core::parse_yaml("optim: adamw_torch", "t.yaml"));
              }),
              HasSubstr("'optim' must be a group of settings: the optimizer is AdamW"));
}

}  // namespace
}  // namespace corda::train
