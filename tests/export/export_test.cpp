// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/export/export.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "core/json.h"
#include "export/gguf_names.h"
#include "support/error_of.h"
#include "support/process.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::exports {
namespace {

namespace fs = std::filesystem;
using adapter::Adapter;
using adapter::LayerAdapter;
using corda::testing::error_of;
using corda::testing::random_tensor;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kK = "model.layers.1.self_attn.k_proj";
const std::string kDown = "model.layers.1.mlp.down_proj";

at::Tensor update(const Adapter& adapter, const std::string& module) {
  const LayerAdapter& layer = adapter.layers.at(module);
  const adapter::Factors factors = adapter::exported_factors(layer);
  return at::mm(factors.b.to(at::kDouble), factors.a.to(at::kDouble)) * adapter.scale_of(layer);
}

class Export : public ::testing::Test {
 protected:
  // Hidden size 32, intermediate size 48, 4 heads and 2 key heads of 8.
  void SetUp() override {
    corda::testing::write_tiny_model(at("base"));
    before_.method = "corda";
    before_.mode = "kpa";
    before_.rank = 3;
    before_.alpha = 6;
    before_.base_name = "base";
    before_.base_fingerprint = io::Checkpoint(at("base")).fingerprint();
    before_.base_blocks = 2;
    std::uint64_t seed = 1;
    for (const auto& [module, out, in] :
         {std::tuple{kQ, 32, 32}, std::tuple{kK, 16, 32}, std::tuple{kDown, 32, 48}}) {
      LayerAdapter layer;
      layer.a0 = random_tensor({3, in}, ++seed);
      layer.b0 = random_tensor({out, 3}, ++seed);
      layer.a = layer.a0 + 0.1 * random_tensor({3, in}, ++seed);
      layer.b = layer.b0 + 0.1 * random_tensor({out, 3}, ++seed);
      before_.layers[module] = layer;
    }
    fs::create_directories(at("a"));
    adapter::write_adapter(at("a"), before_);
  }
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }
  ExportResult run(ExportSettings settings) const {
    core::Reporter silent;
    settings.adapter = at("a");
    settings.model = at("base");
    settings.threads = 1;
    return export_adapter(settings, silent);
  }

  corda::testing::TemporaryDirectory folder_;
  Adapter before_;
};

TEST_F(Export, WithoutARankTheUpdateIsTheSameAndTheAdapterAPlainLora) {
  const ExportResult result = run({.out = at("same")});
  EXPECT_EQ(result.rank, 6);
  EXPECT_EQ(result.relative_error, 0);
  EXPECT_EQ(result.worst_layer, "");
  const Adapter after = adapter::read_adapter(at("same"));
  EXPECT_EQ(after.method, "lora");
  EXPECT_EQ(after.rank, 6);
  EXPECT_EQ(after.scale(), 2);
  EXPECT_EQ(after.base_fingerprint, before_.base_fingerprint);
  ASSERT_EQ(after.layers.size(), 3U);
  for (const auto& [module, layer] : after.layers)
    EXPECT_TRUE(at::equal(update(after, module), update(before_, module))) << module;
}

TEST_F(Export, ALowerRankLosesWhatItSays) {
  const ExportResult result = run({.rank = 2, .out = at("small")});
  EXPECT_EQ(result.rank, 2);
  const Adapter after = adapter::read_adapter(at("small"));
  EXPECT_EQ(after.rank, 2);
  double whole = 0;
  double lost = 0;
  double largest = 0;
  for (const auto& [module, layer] : after.layers) {
    const double norm = update(before_, module).norm().item<double>();
    const double error = (update(before_, module) - update(after, module)).norm().item<double>();
    // The best approximation of rank 2.
    const at::Tensor values = at::linalg_svdvals(update(before_, module));
    EXPECT_NEAR(error, values.narrow(0, 2, values.numel() - 2).norm().item<double>(), 1e-5 * norm);
    whole += norm * norm;
    lost += error * error;
    largest = std::max(largest, error / norm);
  }
  EXPECT_GT(result.relative_error, 0.01);
  EXPECT_NEAR(result.relative_error, std::sqrt(lost / whole), 1e-6);
  EXPECT_NEAR(result.largest_error, largest, 1e-6);
}

TEST_F(Export, TheCardNamesTheRankThatIsWritten) {
  run({.rank = 2, .out = at("small")});
  const std::string card = core::read_file(at("small") + "/README.md");
  EXPECT_THAT(card, HasSubstr("\nlibrary_name: peft\n"));
  EXPECT_THAT(card, HasSubstr("| method | CorDA KPA |\n| rank | 2 |\n| alpha | 2 |\n"));
}

TEST_F(Export, SixteenBitsAreWrittenAndTheirRoundingIsCounted) {
  // Two factors with relative errors of up to 2^-9 or 2^-12 an element.
  for (const auto& [dtype, name, least, most] :
       {std::tuple{"bf16", "BF16", 5e-4, 5e-3}, std::tuple{"fp16", "F16", 5e-5, 7e-4}}) {
    const ExportResult result = run({.dtype = dtype, .out = at(dtype)});
    EXPECT_GT(result.relative_error, least) << dtype;
    EXPECT_LT(result.relative_error, most) << dtype;
    const io::Checkpoint file(at(dtype), "adapter_model");
    for (const auto& tensor : file.names()) EXPECT_EQ(io::to_string(file.info(tensor).dtype), name);
    EXPECT_EQ(result.bytes, 2 * 6 * (32 + 32 + 16 + 32 + 32 + 48));
  }
}

TEST_F(Export, WhatCannotBeWrittenIsRefused) {
  EXPECT_THAT(error_of<core::ConfigError>([&] { run({.rank = 99, .out = at("x")}); }),
              HasSubstr("--rank 99 is more than the " + std::to_string(before_.rank) + " that '"));
  EXPECT_THAT(error_of<core::ConfigError>([&] {
                core::Reporter silent;
                export_adapter({.adapter = at("a"), .format = "gguf", .out = at("x")}, silent);
              }),
              StartsWith("format gguf needs --model"));
  EXPECT_THAT(error_of<core::ConfigError>([] { gguf_family("olmo3"); }),
              StartsWith("a GGUF adapter of the family 'olmo3' is not written; the families are "));
  for (auto& [module, layer] : before_.layers) {
    layer.a0 = layer.b0 = at::Tensor();
    layer.magnitude = at::ones({layer.b.size(0)});
  }
  before_.method = "dora";
  before_.mode.clear();
  fs::remove_all(at("a"));
  fs::create_directories(at("a"));
  adapter::write_adapter(at("a"), before_);
  EXPECT_THAT(error_of<core::ConfigError>([&] { run({.rank = 1, .out = at("x")}); }),
              HasSubstr("a DoRA has no smaller rank"));
  EXPECT_THAT(error_of<core::ConfigError>([&] { run({.format = "gguf", .out = at("x.gguf")}); }),
              HasSubstr("llama.cpp reads no DoRA"));
  EXPECT_FALSE(fs::exists(at("x")));
}

// Read by the package that llama.cpp's own converters use; it says why it is skipped.
TEST_F(Export, AGgufIsWhatItsReaderExpects) {
  const std::string python = CORDA_PYTHON;
  if (python.empty()) GTEST_SKIP() << "CORDA_PYTHON is not set";
  if (corda::testing::run_process({python, "-c", "import gguf"}).exit_code != 0)
    GTEST_SKIP() << python << " has no gguf package";
  run({.dtype = "fp16", .format = "gguf", .out = at("a.gguf")});
  const auto result = corda::testing::run_process(
      {python, std::string(CORDA_SOURCE_DIR) + "/tests/export/read_gguf.py", at("a.gguf"),
       at("a")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "llama: 3 layers agree\n");
}

}  // namespace
}  // namespace corda::exports
