// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What is said where the tensors of a model are not those of its configuration.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "corda/model/config.h"
#include "corda/model/model.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/family_goldens.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::model {
namespace {

using corda::testing::TemporaryDirectory;
using ::testing::HasSubstr;

class Misfit : public ::testing::Test {
 protected:
  void SetUp() override {
    corda::testing::write_tiny_model(folder_.path());
    config_ = read_model_config(folder_.path());
  }
  std::string error() const {
    return corda::testing::error_of<core::ShapeError>(
        [&] { load_model(io::Checkpoint(folder_.path()), config_, {}); });
  }
  // Stores the model again without some tensors, or under other names.
  void rename(const std::function<std::string(const std::string&)>& new_name) const {
    const fs::path path = folder_.path() / "model.safetensors";
    std::vector<std::pair<std::string, at::Tensor>> tensors;
    {
      const io::Checkpoint before(folder_.path());
      for (const auto& name : before.names()) {
        if (const std::string now = new_name(name); !now.empty())
          tensors.emplace_back(now, io::view_tensor(before, name).clone());
      }
    }
    io::save_tensors(path, tensors);
  }

  TemporaryDirectory folder_;
  ModelDescription config_;
};

TEST_F(Misfit, MissingAndMisshapenTensorsAreCountedAtOnce) {
  config_.blocks.resize(3);
  config_.vocab_size = 97;
  config_.tied = true;  // a stored head is then a harmless copy
  const std::string message = error();
  EXPECT_THAT(message, HasSubstr("does not fit its config.json: 9 missing: "
                                 "'model.layers.2.input_layernorm.weight', "));
  EXPECT_THAT(message, HasSubstr("'model.layers.2.self_attn.q_proj.weight'"));
  EXPECT_THAT(message,
              HasSubstr("; 1 of another shape: 'model.embed_tokens.weight' must be [97, 32], it is "
                        "[96, 32]; is config.json that of these files?"));
}

TEST_F(Misfit, MoreBlocksThanTheConfigurationHasAreCalledSo) {
  config_.blocks.resize(1);
  const std::string message = error();
  EXPECT_THAT(message, HasSubstr("9 surplus: 'model.layers.1."));
  EXPECT_THAT(message, HasSubstr("; config.json has num_hidden_layers 1, the file has more"));
}

TEST_F(Misfit, NamesOfAWrapperAreRecognised) {
  rename([](const std::string& name) { return "base_model.model." + name; });
  const std::string message = error();
  EXPECT_THAT(message, HasSubstr(" missing: "));
  EXPECT_THAT(message, HasSubstr("the file has these names with 'base_model.model.' before them"));
  EXPECT_LT(message.size(), 2500U);
}

TEST_F(Misfit, OfManyTensorsTheFirstAreNamedWithTheBeginningThatAllShare) {
  config_.blocks.resize(200);
  const std::string message = error();
  EXPECT_THAT(message, HasSubstr("1782 missing: "));
  EXPECT_THAT(message, HasSubstr(" and 1774 more (all begin with 'model.layers.'); is one of the "
                                 "model's files absent or cut off?"));
  EXPECT_LT(message.size(), 1000U);
}

// config.json and the files may say different things of the head: transformers takes the stored
// one.
TEST_F(Misfit, AStoredHeadThatDiffersFromTheEmbeddingItIsTiedToIsUsedAndThatIsSaid) {
  core::Json config = core::read_json(folder_.path() / "config.json");
  config["tie_word_embeddings"] = true;
  core::write_json(folder_.path() / "config.json", config);
  CapturedLog log;
  EXPECT_FALSE(describe_model(io::Checkpoint(folder_.path()), log).tied);
  EXPECT_THAT(log.text, HasSubstr("warning: config.json ties the head to the embedding, but "
                                  "'lm_head.weight' stands in the files and differs from it; the "
                                  "stored head is used"));
  // A copy is no contradiction.
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  {
    const io::Checkpoint before(folder_.path());
    for (const auto& name : before.names()) {
      tensors.emplace_back(
          name,
          io::view_tensor(before, name == "lm_head.weight" ? "model.embed_tokens.weight" : name)
              .clone());
    }
  }
  io::save_tensors(folder_.path() / "model.safetensors", tensors);
  log.text.clear();
  EXPECT_TRUE(describe_model(io::Checkpoint(folder_.path()), log).tied);
  EXPECT_EQ(log.text, "");
}

// Whoever reads the configuration is told, wrappers of a tower included.
TEST(UnknownFamily, WhoseTensorsAreThoseOfAKnownOneIsSaidToBe) {
  for (const char* golden : {"olmo2", "gemma3"}) {
    const corda::testing::FamilyGolden model(golden);
    const fs::path path = model.directory() / "config.json";
    core::Json config = core::read_json(path);
    const std::string known = config["model_type"];
    config["model_type"] = "brand_new";
    core::write_json(path, config);
    EXPECT_THAT(
        corda::testing::error_of<UnknownFamily>([&] { read_model_config(path.parent_path()); }),
        ::testing::EndsWith("; the tensors are those of " + known + ": try --assume-family " +
                            known + " if the model computes as that family does"));
    EXPECT_GT(read_model_config(path.parent_path(), known).num_layers(), 0);
    fs::remove(path.parent_path() / "model.safetensors");
    EXPECT_THAT(
        corda::testing::error_of<UnknownFamily>([&] { read_model_config(path.parent_path()); }),
        ::testing::Not(HasSubstr("the tensors are")));
  }
}

}  // namespace
}  // namespace corda::model
