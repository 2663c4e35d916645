// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "adapter/target_modules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "support/error_of.h"

namespace corda::adapter {
namespace {

using ::corda::testing::error_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const std::vector<std::string> kLayers = {
    "model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj",
    "model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"};

std::vector<std::string> selected(const std::vector<std::string>& targets) {
  return select_targets("lora.target_modules", targets, kLayers);
}

std::string refusal(const std::vector<std::string>& targets) {
  return error_of<core::ConfigError>([&] { selected(targets); });
}

TEST(TargetModules, ANameIsWholeOrTheEndOfOneAsInPeft) {
  EXPECT_THAT(selected({"q_proj"}), ElementsAre(kLayers[0], kLayers[2]));
  EXPECT_THAT(selected({"self_attn.q_proj"}), ElementsAre(kLayers[0], kLayers[2]));
  EXPECT_THAT(selected({"layers.1.mlp.up_proj", "model.layers.0.self_attn.q_proj"}),
              ElementsAre(kLayers[0], kLayers[3]));
  EXPECT_THAT(refusal({"proj"}), HasSubstr("no layer of the model's blocks is named 'proj'"));
}

TEST(TargetModules, AllLinearIsEveryLayerInAnyCase) {
  EXPECT_EQ(selected({"all-linear"}), kLayers);
  EXPECT_EQ(selected({"All-Linear"}), kLayers);
  EXPECT_THAT(expand_targets("x", {"ALL-LINEAR"}, kLayers), ElementsAre("q_proj", "up_proj"));
}

TEST(TargetModules, AllLinearStandsAlone) {
  EXPECT_EQ(
      refusal({"q_proj", "all-linear"}),
      "lora.target_modules: 'all-linear' means every linear layer of the blocks, so it stands "
      "alone; it is given with 'q_proj'");
  EXPECT_EQ(
      refusal({"all-linear", "lm_head"}),
      "lora.target_modules: 'all-linear' means every linear layer of the blocks, so it stands "
      "alone; it is given with 'lm_head'; the head and the embedding get no adapter");
}

TEST(TargetModules, AnUnknownNameIsRefusedWithWhatThereIs) {
  EXPECT_EQ(refusal({"q_proj", "q_porj"}),
            "lora.target_modules: no layer of the model's blocks is named 'q_porj' (did you mean "
            "'q_proj'?); they end in q_proj, up_proj, and 'all-linear' means all of them");
  EXPECT_THAT(refusal({"all_linear"}), HasSubstr("(did you mean 'all-linear'?)"));
  EXPECT_THAT(refusal({"model.layers.7.self_attn.q_proj"}),
              HasSubstr("is named 'model.layers.7.self_attn.q_proj'"));
  for (const std::string outside : {"lm_head", "embed_tokens", "model.embed_tokens"})
    EXPECT_THAT(refusal({outside}), HasSubstr("; the head and the embedding get no adapter"));
  EXPECT_THAT(refusal({".*q_proj"}), HasSubstr("; names are given here, no patterns"));
  EXPECT_THAT(refusal({"q_porj"}), Not(HasSubstr("patterns")));
}

}  // namespace
}  // namespace corda::adapter
