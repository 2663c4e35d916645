// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/merge/merge.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/error_of.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"

namespace corda::merge {
namespace {

namespace fs = std::filesystem;
using ::corda::testing::error_of;
using ::corda::testing::random_tensor;
using ::corda::testing::TemporaryDirectory;
using ::testing::HasSubstr;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kUp = "model.layers.0.mlp.up_proj";

at::Tensor bf16(std::vector<std::int64_t> shape, std::uint64_t seed) {
  return random_tensor(shape, seed).to(at::kBFloat16);
}

// Two shards of bf16 with an odd order, an integer tensor, an index with more than it needs, other
// files.
void write_base(const fs::path& directory) {
  fs::create_directories(directory / "additional_chat_templates");
  fs::create_directories(directory / "checkpoint-5");
  io::save_tensors(
      directory / "model-00001-of-00002.safetensors",
      {{kUp + ".weight", bf16({10, 6}, 1)}, {"model.embed_tokens.weight", bf16({9, 6}, 2)}},
      {{"format", "pt"}});
  io::save_tensors(directory / "model-00002-of-00002.safetensors",
                   {{kQ + ".weight", bf16({6, 6}, 3)},
                    {kQ + ".bias", bf16({6}, 4)},
                    {"counts", at::arange(5, at::kLong)}},
                   {{"format", "pt"}});
  core::write_file_atomic(
      directory / "model.safetensors.index.json",
      "{\"metadata\": {\"total_size\": 340, \"note\": \"kept\"},\n \"weight_map\": {\"" + kUp +
          ".weight\": \"model-00001-of-00002.safetensors\", \"model.embed_tokens.weight\": "
          "\"model-00001-of-00002.safetensors\", \"" +
          kQ + ".weight\": \"model-00002-of-00002.safetensors\", \"" + kQ +
          ".bias\": \"model-00002-of-00002.safetensors\", \"counts\": "
          "\"model-00002-of-00002.safetensors\"}}");
  core::write_file_atomic(directory / "config.json",
                          "{\"model_type\": \"llama\",   \"dtype\": \"bfloat16\"}\n");
  core::write_file_atomic(directory / "tokenizer.model", std::string("\0\1\2binary", 9));
  core::write_file_atomic(directory / "chat_template.jinja", "{{ x }}");
  core::write_file_atomic(directory / "additional_chat_templates" / "rag.jinja", "{{ y }}");
  core::write_file_atomic(directory / "checkpoint-5" / "trainer_state.json", "{}");
  for (const char* name : {"pytorch_model.bin", "consolidated.pth", "adapter_config.json",
                           "corda.json", "consolidated.safetensors"}) {
    core::write_file_atomic(directory / name, "not to be copied");
  }
}

adapter::Adapter make_adapter(const fs::path& base) {
  adapter::Adapter result;
  result.method = "corda";
  result.mode = "kpa";
  result.rank = 2;
  result.alpha = 3;
  const io::Checkpoint checkpoint(base);
  result.base_fingerprint = checkpoint.fingerprint();
  result.base_name = "base";
  for (const auto& module : {kQ, kUp}) {
    const at::Tensor w = io::view_tensor(checkpoint, module + ".weight").to(at::kFloat);
    auto layer = adapter::initialise_pissa(w, 2, result.scale());
    layer.a = layer.a + 0.05 * random_tensor({2, w.size(1)}, 11);
    layer.b = layer.b + 0.05 * random_tensor({w.size(0), 2}, 12);
    result.layers[module] = layer;
  }
  return result;
}

class Merge : public ::testing::Test {
 protected:
  Merge() : base_(scratch_.path() / "base") {
    write_base(base_);
    adapter_ = make_adapter(base_);
    write(adapter_);
  }
  void write(const adapter::Adapter& adapter) {
    fs::create_directories(scratch_.path() / "adapter");
    adapter::write_adapter(scratch_.path() / "adapter", adapter);
  }
  MergeSettings settings(const std::string& out = "merged") const {
    return {.model = base_.string(),
            .adapter = (scratch_.path() / "adapter").string(),
            .out = (scratch_.path() / out).string(),
            .dtype = "auto",
            .max_shard_size = ""};
  }
  MergeResult run(const MergeSettings& s) {
    core::Reporter quiet;
    return merge(s, quiet);
  }
  template <typename ErrorType>
  std::string failure(const MergeSettings& s) {
    return error_of<ErrorType>([&] { run(s); });
  }
  // fp32 arithmetic on what the adapter's files hold, as PEFT adds it: W + s b a.
  at::Tensor expected(const std::string& module, at::ScalarType type) const {
    const io::SafetensorsFile file(scratch_.path() / "adapter" / "adapter_model.safetensors");
    const at::Tensor a = io::view_tensor(file, "base_model.model." + module + ".lora_A.weight");
    const at::Tensor b = io::view_tensor(file, "base_model.model." + module + ".lora_B.weight");
    const at::Tensor w = io::view_tensor(io::Checkpoint(base_), module + ".weight").to(at::kDouble);
    return (w + 1.5 * at::mm(b.to(at::kDouble), a.to(at::kDouble))).to(at::kFloat).to(type);
  }

  TemporaryDirectory scratch_;
  fs::path base_;
  adapter::Adapter adapter_;
};

bool same_bytes(const io::Checkpoint& a, const io::Checkpoint& b, const std::string& name) {
  const auto x = a.data(name);
  const auto y = b.data(name);
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size()) == 0;
}

TEST_F(Merge, AdaptedWeightsAreFp32ArithmeticRoundedOnceAndTheRestKeepsItsBytes) {
  const MergeResult result = run(settings());
  EXPECT_EQ(result.tensors, 5);
  EXPECT_EQ(result.merged, 2);
  EXPECT_EQ(result.shards, 2);
  const io::Checkpoint base(base_);
  const io::Checkpoint merged(settings().out);
  for (const auto& module : {kQ, kUp}) {
    const std::string name = module + ".weight";
    const at::Tensor w = io::view_tensor(base, name).to(at::kFloat);
    const auto layer = adapter::read_adapter(scratch_.path() / "adapter").layers.at(module);
    const at::Tensor once = (w + adapter::update_of(layer, 1.5)).to(at::kBFloat16);
    EXPECT_TRUE(at::equal(io::view_tensor(merged, name), once)) << module;
    EXPECT_TRUE(at::equal(io::view_tensor(merged, name), expected(module, at::kBFloat16)))
        << module << ": differs from fp64 rounded";
    EXPECT_FALSE(same_bytes(base, merged, name));
  }
  for (const std::string& name :
       {std::string("model.embed_tokens.weight"), kQ + ".bias", std::string("counts")}) {
    EXPECT_TRUE(same_bytes(base, merged, name)) << name;
  }
  EXPECT_EQ(merged.file_of(kUp + ".weight").path().filename(), "model-00001-of-00002.safetensors");
  EXPECT_EQ(merged.file_of(kUp + ".weight").metadata().at("format"), "pt");
}

TEST_F(Merge, OtherFilesAreCopiedByteForByteAndForeignWeightsAreNot) {
  run(settings());
  const fs::path out = settings().out;
  for (const char* name : {"config.json", "tokenizer.model", "chat_template.jinja",
                           "model.safetensors.index.json", "additional_chat_templates/rag.jinja"}) {
    EXPECT_EQ(core::read_file(out / name), core::read_file(base_ / name)) << name;
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(out))
    names.push_back(fs::relative(entry.path(), out).string());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre(
                         "config.json", "tokenizer.model", "chat_template.jinja",
                         "model.safetensors.index.json", "additional_chat_templates",
                         "additional_chat_templates/rag.jinja", "model-00001-of-00002.safetensors",
                         "model-00002-of-00002.safetensors", "settings.resolved.yaml"));
}

TEST_F(Merge, UntrainedAdapterLeavesEveryTensorAsItIs) {
  for (auto& [module, layer] : adapter_.layers) {
    layer.a = layer.a0;
    layer.b = layer.b0;
  }
  write(adapter_);
  run(settings());
  const io::Checkpoint base(base_);
  const io::Checkpoint merged(settings().out);
  for (const auto& name : base.names()) EXPECT_TRUE(same_bytes(base, merged, name)) << name;
  EXPECT_EQ(merged.fingerprint(), base.fingerprint());
}

TEST_F(Merge, NewShardsHoldTheSameTensorsAndAnIndexOfTheirOwn) {
  run(settings("whole"));
  MergeSettings s = settings();
  s.max_shard_size = "200";
  const MergeResult result = run(s);
  EXPECT_EQ(result.shards, 3);  // 120 | 108 + 72 + 12 | 40 bytes
  const io::Checkpoint one(settings("whole").out);
  const io::Checkpoint two(s.out);
  ASSERT_EQ(one.names(), two.names());
  for (const auto& name : one.names()) EXPECT_TRUE(same_bytes(one, two, name)) << name;
  EXPECT_EQ(two.files().at(0)->path().filename(), "model-00001-of-00003.safetensors");
  EXPECT_EQ(
      core::read_json(fs::path(s.out) / "model.safetensors.index.json")["metadata"]["total_size"],
      352);
  s = settings("single");
  s.max_shard_size = "1GB";
  EXPECT_EQ(run(s).shards, 1);
  EXPECT_TRUE(fs::exists(fs::path(s.out) / "model.safetensors"));
  EXPECT_FALSE(fs::exists(fs::path(s.out) / "model.safetensors.index.json"));
}

TEST_F(Merge, AnotherDtypeChangesFloatingTensorsAndTheConfig) {
  MergeSettings s = settings();
  s.dtype = "fp32";
  run(s);
  const io::Checkpoint merged(s.out);
  EXPECT_EQ(merged.info(kQ + ".bias").dtype, io::DType::kF32);
  EXPECT_EQ(merged.info("counts").dtype, io::DType::kI64);
  const at::Tensor q = io::view_tensor(merged, kQ + ".weight");
  EXPECT_LT((q - expected(kQ, at::kFloat)).abs().max().item<float>(), 1e-6f);
  EXPECT_EQ(core::read_json(fs::path(s.out) / "config.json")["dtype"], "float32");
}

// fp16 ends at 65504: a larger number would be written as an infinity, of an adapted weight and of
// one that is only converted.
TEST_F(Merge, AWeightThatFp16CannotHoldIsRefusedAndNamed) {
  adapter::Adapter other = adapter_;
  other.layers.at(kQ).b[0] = 1e6F;
  other.layers.at(kQ).a[0] = 1;
  write(other);
  MergeSettings s = settings();
  s.dtype = "fp16";
  EXPECT_THAT(failure<core::NumericalError>(s),
              ::testing::AllOf(::testing::StartsWith("'" + kQ + ".weight' holds "),
                               HasSubstr(", too large for F16, which ends at 65504; write the "
                                         "model as bf16 or fp32")));
  EXPECT_FALSE(fs::exists(s.out));
  s.dtype = "auto";  // bf16, as the base
  EXPECT_GT(run(s).merged, 0);
}

TEST_F(Merge, WrongAdaptersAreRefusedBeforeAnythingIsWritten) {
  adapter::Adapter other = adapter_;
  other.base_fingerprint = "sha256-sampled:0";
  write(other);
  EXPECT_THAT(failure<core::ConfigError>(settings()),
              HasSubstr("the adapter was made for another base model"));
  other = adapter_;
  other.layers["model.layers.7.mlp.up_proj"] = adapter_.layers.at(kUp);
  write(other);
  EXPECT_THAT(failure<core::FormatError>(settings()),
              HasSubstr("changes 'model.layers.7.mlp.up_proj', but"));
  for (int layer = 8; layer < 307; ++layer)
    other.layers[core::concat("model.layers.", layer, ".mlp.up_proj")] = adapter_.layers.at(kUp);
  write(other);
  const std::string many = failure<core::FormatError>(settings());
  EXPECT_THAT(many, HasSubstr(" and 292 more (all begin with 'model.layers.'), but '"));
  EXPECT_LT(many.size(), 1000U);
  other = adapter_;
  other.layers[kQ] = adapter_.layers.at(kUp);
  write(other);
  EXPECT_THAT(failure<core::ShapeError>(settings()),
              HasSubstr("changes a '" + kQ + "' of [10, 6], the base has [6, 6]"));
  other = adapter_;
  other.layers.at(kQ).b[0][0] = std::numeric_limits<float>::infinity();
  write(other);
  EXPECT_THAT(failure<core::NumericalError>(settings()),
              HasSubstr("the merged weight of '" + kQ + "' is not finite; did training diverge?"));
  for (const auto& entry : fs::directory_iterator(scratch_.path())) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::AnyOf("base", "adapter"));
  }
}

TEST_F(Merge, TruncatedShardIsRefused) {
  fs::resize_file(base_ / "model-00002-of-00002.safetensors",
                  fs::file_size(base_ / "model-00002-of-00002.safetensors") - 8);
  EXPECT_THAT(failure<core::FormatError>(settings()), HasSubstr("truncated"));
}

TEST(MergeSize, UnitsAndNonsense) {
  EXPECT_EQ(parse_size("5GB"), 5000000000);
  EXPECT_EQ(parse_size("1.5 MiB"), 1572864);
  EXPECT_EQ(parse_size("300"), 300);
  for (const char* text : {"", "GB", "5XB", "-1GB", "nanGB", "1e30TB"}) {
    EXPECT_THAT(error_of<core::ConfigError>([&] { parse_size(text); }),
                HasSubstr("'max_shard_size' must be a size such as 5GB"))
        << text;
  }
}

TEST(MergeSettings, AWordFromCppThatIsNoChoiceIsRefused) {
  core::Reporter reporter;
  const MergeSettings settings{
      .model = "base", .adapter = "adapter", .out = "merged", .dtype = "fp8", .max_shard_size = {}};
  EXPECT_THAT(error_of<core::ConfigError>([&] { merge(settings, reporter); }),
              HasSubstr("'dtype' must be one of auto, bf16, fp16, fp32; it is 'fp8'"));
}

}  // namespace
}  // namespace corda::merge
