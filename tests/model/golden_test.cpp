// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Logits and greedy continuations against transformers (scripts/golden/models.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "corda/io/tensor.h"
#include "corda/model/forward.h"
#include "corda/model/generate.h"
#include "core/json.h"

namespace corda::model {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

const fs::path kGolden = fs::path(CORDA_SOURCE_DIR) / "tests" / "golden" / "models";

class GoldenModel : public ::testing::TestWithParam<const char*> {
 protected:
  fs::path directory() const { return kGolden / GetParam(); }
  Model load() const {
    return load_model(io::Checkpoint(directory()), read_model_config(directory()), {});
  }
};

// The real tokens of the right-padded golden batch, end to end.
Batch unpadded_batch(const io::SafetensorsFile& expected, const Model& model) {
  const at::Tensor ids = io::view_tensor(expected, "ids");
  const at::Tensor lengths = io::view_tensor(expected, "lengths");
  Ids flat, positions, offsets = {0};
  for (std::int64_t i = 0; i < ids.size(0); ++i) {
    const auto length = lengths[i].item<std::int64_t>();
    for (std::int64_t t = 0; t < length; ++t) {
      flat.push_back(static_cast<std::int32_t>(ids[i][t].item<std::int64_t>()));
      positions.push_back(static_cast<std::int32_t>(t));
    }
    offsets.push_back(static_cast<std::int32_t>(flat.size()));
  }
  return make_batch(flat, positions, offsets, model.config.vocab_size, model.device());
}

TEST_P(GoldenModel, LogitsOfAPaddedBatchMatchTransformers) {
  const Model model = load();
  const io::SafetensorsFile expected(directory() / "expected.safetensors");
  const Batch batch = unpadded_batch(expected, model);
  const at::NoGradGuard no_grad;
  PackedAttention attention(batch);
  const at::Tensor logits = logits_of(model, forward_hidden(model, batch, attention));
  const at::Tensor golden = io::view_tensor(expected, "logits");
  ASSERT_EQ(logits.sizes(), golden.sizes());
  // fp32 against fp64 differs by less than 1e-6 of the largest logit (the manifest records it).
  const double relative = ((logits - golden).abs().max() / golden.abs().max()).item<double>();
  EXPECT_LT(relative, 1e-5);
}

TEST_P(GoldenModel, GreedyContinuationsMatchTransformers) {
  const Model model = load();
  const core::Json golden = core::read_json(directory() / "generate.json");
  const auto prompts = golden.at("prompts").get<std::vector<Ids>>();
  const auto generated =
      generate(model, prompts,
               {.max_new_tokens = golden.at("max_new_tokens").get<std::int64_t>(),
                .stop_ids = {},
                .stop_when = {}});
  EXPECT_EQ(generated, golden.at("outputs").get<std::vector<Ids>>());
}

constexpr std::array kModels = {"llama2",     "llama3-gqa", "llama-linear",
                                "llama-tied", "llama-bias", "llama-headdim",
                                "mistral",    "llama-bf16", "llama-fp16"};

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel, ::testing::ValuesIn(kModels),
                         [](const auto& tested) {
                           std::string name = tested.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GoldenModels, EveryDirectoryIsTested) {
  std::set<std::string> directories;
  for (const auto& entry : fs::directory_iterator(kGolden)) {
    if (entry.is_directory()) directories.insert(entry.path().filename().string());
  }
  EXPECT_EQ(directories, std::set<std::string>(kModels.begin(), kModels.end()));
}

}  // namespace
}  // namespace corda::model
