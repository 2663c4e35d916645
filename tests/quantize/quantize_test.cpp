// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quantize/quantize.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/eval/verify_merge.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "corda/kernels/pack_lower.h"
#include "corda/merge/merge.h"
#include "corda/quant/feedback.h"
#include "corda/quant/write_copy.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::quantize {
namespace {

namespace fs = std::filesystem;
using quant::Base;
using quant::ModelWeights;
using quant::Scales;
using ::testing::HasSubstr;

at::Tensor values_of(const kernels::PackedWeight& packed) {
  at::Tensor values = at::empty({packed.rows, packed.columns}, at::kFloat);
  kernels::dequantise(values, packed);
  return values;
}

ModelWeights open(const fs::path& directory) { return ModelWeights(io::Checkpoint(directory)); }

class Quantize : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    testing::write_tiny_model(base_, {.hidden = 96,
                                      .intermediate = 144,
                                      .heads = 4,
                                      .kv_heads = 2,
                                      .dtype = at::kBFloat16,
                                      .shards = 2});
  }
  // The parameter is --to, and behind a '-' --scales.
  static std::string to() { return std::string(GetParam()).substr(0, 3); }
  static std::string scales() {
    return to() == GetParam() ? "auto" : std::string(GetParam()).substr(4);
  }
  QuantizeResult run(const fs::path& out, const std::string& covariance = "") const {
    return quantize({.model = base_.string(),
                     .out = out.string(),
                     .to = to(),
                     .scales = scales(),
                     .covariance = covariance},
                    quiet_);
  }
  static kernels::PackedWeight codes_of(const at::Tensor& weight) {
    return quant::quantise(weight,
                           {.base = quant::base_named(to()),
                            .scales = scales() == "channel" ? Scales::kChannel : Scales::kBlock});
  }
  // A covariance directory of this model, with correlated inputs; returns that of a module.
  void write_covariance(const fs::path& directory, const std::string& fingerprint) const {
    at::manual_seed(4);
    io::CovarianceWriter writer(directory, io::CovarianceStorage::kPacked);
    const ModelWeights weights = open(base_);
    for (const std::string& name : weights.names()) {
      if (!quant::is_block_layer(weights, name)) continue;
      const std::int64_t in = weights.info(name).shape[1];
      const at::Tensor x = at::mm(at::randn({4 * in, in / 4}), at::randn({in / 4, in})) +
                           at::randn({4 * in, in}) * 0.1;
      const std::string module = name.substr(0, name.size() - 7);
      writer.add(module, {module}, 4 * in, kernels::pack_lower(at::mm(x.t(), x)));
    }
    io::CovarianceManifest manifest;
    manifest.model = fingerprint;
    manifest.model_name = "base";
    manifest.activation_scaling = "none";
    writer.finish(manifest);
  }

  testing::TemporaryDirectory temporary_;
  const fs::path base_ = temporary_.path() / "base";
  mutable core::Reporter quiet_;
};

TEST_P(Quantize, WritesEveryLayerOfTheBlocksInCodesAndKeepsAllElse) {
  const fs::path out = temporary_.path() / "out";
  const QuantizeResult result = run(out);
  EXPECT_EQ(result.layers, 14);
  EXPECT_EQ(result.shards, 2);
  const ModelWeights before = open(base_);
  const ModelWeights after = open(out);
  EXPECT_EQ(after.names(), before.names());
  EXPECT_EQ(after.quantised_layers(), 14);
  int kept = 0;
  for (const std::string& name : before.names()) {
    SCOPED_TRACE(name);
    const at::Tensor weight = before.view(name);
    if (quant::is_block_layer(before, name)) {
      ASSERT_TRUE(after.is_quantised(name));
      EXPECT_EQ(after.info(name).shape, before.info(name).shape);
      EXPECT_EQ(after.info(name).dtype, io::DType::kBF16);
      EXPECT_TRUE(at::equal(after.view(name).to(at::kFloat), values_of(codes_of(weight))));
    } else {
      EXPECT_TRUE(at::equal(after.view(name), weight));
      ++kept;
    }
  }
  EXPECT_EQ(kept, 7);  // four norms of blocks and the last, embedding and head
  const core::Json config = core::read_json(out / "config.json");
  EXPECT_EQ(config["quantization_config"]["quant_method"], to() == "nf4" ? "bitsandbytes"
                                                           : scales() == "channel"
                                                               ? "compressed-tensors"
                                                               : "fp8");
  EXPECT_LT(fs::file_size(out / "model-00001-of-00002.safetensors"),
            fs::file_size(base_ / "model-00001-of-00002.safetensors"));
}

TEST_P(Quantize, TheCardIsThatOfTheCodesAndTheBasesStaysBesideIt) {
  core::write_file_atomic(base_ / "README.md", "---\nlicense: mit\n---\n");
  const fs::path out = temporary_.path() / "out";
  run(out);
  const std::string card = core::read_file(out / "README.md");
  EXPECT_THAT(card, HasSubstr("\nlicense: mit\n"));
  EXPECT_THAT(card, HasSubstr(to() == "nf4" ? "# base, in 4 bits\n" : "# base, in 8 bits\n"));
  EXPECT_EQ(card.find("a scale a row") != std::string::npos, scales() == "channel");
  EXPECT_EQ(core::read_file(out / "README-of-base.md"), "---\nlicense: mit\n---\n");
}

TEST_P(Quantize, ItsDirectoryIsReadAsAModelWhoseLayersStayInCodes) {
  const fs::path out = temporary_.path() / "out";
  run(out);
  const model::ModelDescription config = model::read_model_config(out);
  const model::Model model = model::load_model(open(out), config, {.base = Base::kAuto});
  for (const model::Linear* linear : model.linear_layers()) EXPECT_TRUE(linear->packed);
  const model::Model dense = model::load_model(open(out), config, {});
  EXPECT_FALSE(dense.linear_layers()[0]->packed);
  EXPECT_TRUE(
      at::equal(dense.linear_layers()[3]->weight, model::weight_of(*model.linear_layers()[3])));
}

TEST_P(Quantize, WithACovarianceLosesLessOfTheOutputsInTheSameFormat) {
  const fs::path covariance = temporary_.path() / "covariance";
  write_covariance(covariance, open(base_).fingerprint());
  const fs::path out = temporary_.path() / "out";
  const QuantizeResult result = run(out, covariance.string());
  EXPECT_LT(result.output_error, 0.7 * result.plain_error);
  const ModelWeights before = open(base_);
  const ModelWeights after = open(out);
  const io::CovarianceReader reader(covariance);
  double error = 0;
  for (const std::string& name : before.names()) {
    if (!quant::is_block_layer(before, name)) continue;
    error += quant::output_error(before.view(name), after.view(name),
                                 reader.load(name.substr(0, name.size() - 7)));
  }
  EXPECT_NEAR(error / 14, result.output_error, 1e-6 * result.output_error);
}

TEST_P(Quantize, RefusesACovarianceOfAnotherModelAndWritesNothing) {
  const fs::path covariance = temporary_.path() / "covariance";
  write_covariance(covariance, "sha256-sampled:0");
  const fs::path out = temporary_.path() / "out";
  EXPECT_THAT(testing::error_of<core::ConfigError>([&] { run(out, covariance.string()); }),
              HasSubstr("was collected on another model"));
  EXPECT_FALSE(fs::exists(out));
}

class Merge : public Quantize {
 protected:
  // A LoRA on q_proj and down_proj of block 1.
  fs::path write_lora(const fs::path& base, const std::string& base_format) const {
    adapter::Adapter lora;
    lora.method = "lora";
    lora.rank = 4;
    lora.alpha = 8;
    lora.base_fingerprint = open(base).fingerprint();
    lora.base_name = base.string();
    lora.base_format = base_format;
    at::manual_seed(9);
    for (const auto& [module, out, in] : {std::tuple{"model.layers.1.self_attn.q_proj", 96, 96},
                                          std::tuple{"model.layers.1.mlp.down_proj", 96, 144}}) {
      auto layer = adapter::initialise_lora(out, in, 4, 1, module);
      layer.b = at::randn_like(layer.b) * 0.05;
      lora.layers[module] = std::move(layer);
    }
    const fs::path directory = temporary_.path() / "adapter";
    fs::create_directory(directory);
    adapter::write_adapter(directory, lora);
    return directory;
  }
  merge::MergeSettings settings(const fs::path& base, const fs::path& lora) const {
    return {.model = base.string(),
            .adapter = lora.string(),
            .out = (temporary_.path() / "merged").string()};
  }
  // The merged model is the base's values plus the update, rounded once.
  void expect_merged(const ModelWeights& base, const fs::path& lora, bool all_in_codes) const {
    const ModelWeights merged = open(temporary_.path() / "merged");
    EXPECT_EQ(merged.quantised_layers(), 0);
    EXPECT_EQ(merged.names(), base.names());
    const adapter::Adapter adapter = adapter::read_adapter(lora);
    for (const std::string& name : base.names()) {
      SCOPED_TRACE(name);
      at::Tensor expected = base.view(name).to(at::kFloat);
      if (all_in_codes && quant::is_block_layer(base, name))
        expected = values_of(codes_of(base.view(name)));
      if (const auto layer = adapter.layers.find(name.substr(0, name.size() - 7));
          layer != adapter.layers.end())
        expected = adapter::merged_weight(expected, layer->second, adapter.scale());
      EXPECT_TRUE(at::equal(merged.view(name), expected.to(at::kBFloat16)));
    }
    EXPECT_FALSE(
        core::read_json(temporary_.path() / "merged/config.json").contains("quantization_config"));
  }
};

TEST_P(Merge, IntoAQuantisedModelIsADequantisedCopyWithTheAdapter) {
  const fs::path base = temporary_.path() / "quantised";
  run(base);
  const fs::path lora = write_lora(base, "");
  merge::MergeSettings s = settings(base, lora);
  s.into = "quantised-base";
  EXPECT_EQ(merge::merge(s, quiet_).merged, 2);
  expect_merged(open(base), lora, /*all_in_codes=*/false);
}

TEST_P(Merge, IntoTheCodesThatTheAdapterWasTrainedOverTakesTheirNameFromTheAdapter) {
  const fs::path lora = write_lora(base_, to());
  EXPECT_EQ(adapter::read_adapter(lora).base_format, to());
  merge::MergeSettings s = settings(base_, lora);
  s.into = "quantised-base";
  merge::merge(s, quiet_);
  expect_merged(open(base_), lora, /*all_in_codes=*/true);
}

TEST_P(Merge, IntoTheSixteenBitBaseLeavesOtherLayersAsTheyAre) {
  const fs::path lora = write_lora(base_, to());
  merge::merge(settings(base_, lora), quiet_);
  expect_merged(open(base_), lora, /*all_in_codes=*/false);
}

TEST_P(Merge, RefusesAQuantisedModelWithoutTheWordAndCodesThatNobodyNames) {
  const fs::path base = temporary_.path() / "quantised";
  run(base);
  const fs::path lora = write_lora(base, "");
  EXPECT_THAT(
      testing::error_of<core::ConfigError>([&] { merge::merge(settings(base, lora), quiet_); }),
      HasSubstr("--into quantised-base"));
  merge::MergeSettings s = settings(base_, lora);
  s.into = "quantised-base";
  EXPECT_THAT(testing::error_of<core::ConfigError>([&] { merge::merge(s, quiet_); }),
              HasSubstr("give --base nf4 or fp8"));
  EXPECT_FALSE(fs::exists(temporary_.path() / "merged"));
}

TEST_P(Merge, IsVerifiedAgainstWhatWasTrainedAndSaysWhichBaseIsNearerToThat) {
  const fs::path lora = write_lora(base_, to());
  for (const char* into : {"base", "quantised-base"}) {
    SCOPED_TRACE(into);
    merge::MergeSettings s = settings(base_, lora);
    s.out = (temporary_.path() / (std::string("merged-into-") + into)).string();
    s.into = into;
    merge::merge(s, quiet_);
    eval::VerifySettings verify;
    verify.model = s.model;
    verify.adapter = s.adapter;
    verify.merged = s.out;
    verify.into = into;
    const eval::VerifyResult result = eval::verify_merge(verify, quiet_);
    ASSERT_TRUE(result.other_difference);
    const double sixteen_bits =
        s.into == "base" ? result.relative_difference : *result.other_difference;
    const double codes = s.into == "base" ? *result.other_difference : result.relative_difference;
    // One rounding to bf16 against the error of the codes in every layer.
    EXPECT_GT(codes, 0);
    EXPECT_LT(codes, 0.5 * sixteen_bits);
  }
}

TEST_P(Merge, WithACovarianceRoundsTheMergedLayersWithLessLossOfTheirOutputs) {
  const fs::path covariance = temporary_.path() / "covariance";
  write_covariance(covariance, open(base_).fingerprint());
  merge::MergeSettings s = settings(base_, write_lora(base_, ""));
  s.covariance = covariance.string();
  const merge::MergeResult result = merge::merge(s, quiet_);
  EXPECT_LT(result.output_error, 0.5 * result.plain_error);
  const std::string untouched = "model.layers.0.mlp.up_proj.weight";
  EXPECT_TRUE(
      at::equal(open(temporary_.path() / "merged").view(untouched), open(base_).view(untouched)));
}

const auto kNames = [](const auto& tested) {
  std::string name = tested.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
};
INSTANTIATE_TEST_SUITE_P(, Quantize, ::testing::Values("nf4", "fp8-block", "fp8-channel"), kNames);
INSTANTIATE_TEST_SUITE_P(, Merge, ::testing::Values("nf4", "fp8"), kNames);

// Programs that read tiles want whole ones; 96 and 144 have none.
TEST(ScalesOfFloat8, AreOfTilesWhereTheseAreWholeAndElseOfRows) {
  const testing::TemporaryDirectory temporary;
  const auto base = [&](const char* name, const testing::TinyModelOptions& shape) {
    testing::write_tiny_model(temporary.path() / name, shape);
    return temporary.path() / name;
  };
  const fs::path whole =
      base("whole", {.hidden = 128, .intermediate = 256, .heads = 4, .kv_heads = 4});
  // Keys and values are 64 wide, which is half a tile.
  const fs::path narrow =
      base("narrow", {.hidden = 128, .intermediate = 256, .heads = 4, .kv_heads = 2});
  int runs = 0;
  const auto written = [&](const fs::path& model, const std::string& scales) {
    CapturedLog log;
    const fs::path out = temporary.path() / core::concat("out", ++runs);
    quantize({.model = model.string(), .out = out.string(), .to = "fp8", .scales = scales}, log);
    return std::pair{core::read_json(out / "config.json")["quantization_config"], log.text};
  };
  const auto [tiles, nothing] = written(whole, "auto");
  EXPECT_EQ(tiles["weight_block_size"], (core::Json{128, 128}));
  EXPECT_THAT(nothing, ::testing::Not(HasSubstr("128")));
  const auto [rows, said] = written(narrow, "auto");
  EXPECT_EQ(rows["format"], "float-quantized");
  EXPECT_EQ(rows["config_groups"]["group_0"]["weights"]["strategy"], "channel");
  EXPECT_EQ(rows["config_groups"]["group_0"]["input_activations"]["strategy"], "token");
  EXPECT_EQ(rows["ignore"], core::Json::array({"lm_head"}));
  EXPECT_THAT(said, HasSubstr("the sides of 4 layers, the first 'model.layers.0.self_attn.k_proj' "
                              "[64, 128], are no multiples of 128, so float8 has a scale a row"));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("warning")));
  const auto [asked, warned] = written(narrow, "block");
  EXPECT_EQ(asked["quant_method"], "fp8");
  EXPECT_THAT(warned, HasSubstr("warning: the sides of 4 layers, the first "
                                "'model.layers.0.self_attn.k_proj' [64, 128], are no multiples of "
                                "128: transformers refuses float8 tiles of such sizes"));
  EXPECT_EQ(written(whole, "channel").first["quant_method"], "compressed-tensors");
}

TEST(ScalesOfFloat8, AreNoMatterOfNf4) {
  const testing::TemporaryDirectory temporary;
  testing::write_tiny_model(temporary.path() / "base", {});
  core::Reporter quiet;
  EXPECT_EQ(testing::error_of<core::ConfigError>([&] {
              quantize({.model = (temporary.path() / "base").string(),
                        .out = (temporary.path() / "out").string(),
                        .to = "nf4",
                        .scales = "channel"},
                       quiet);
            }),
            "--scales is for --to fp8; nf4 has a scale for every 64 values");
}

}  // namespace
}  // namespace corda::quantize
