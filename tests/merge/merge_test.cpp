// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/merge/merge.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/captured_log.h"
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
    log_.text.clear();
    return merge(s, log_);
  }
  // Adds a head of `weight` to the base, whose config.json says whether it is tied.
  void give_head(const at::Tensor& weight, bool tied) {
    io::save_tensors(base_ / "model-00003-of-00003.safetensors", {{"lm_head.weight", weight}});
    core::Json index = core::read_json(base_ / "model.safetensors.index.json");
    index["weight_map"]["lm_head.weight"] = "model-00003-of-00003.safetensors";
    core::write_json(base_ / "model.safetensors.index.json", index);
    core::write_json(base_ / "config.json",
                     {{"model_type", "llama"}, {"tie_word_embeddings", tied}});
    adapter_.base_fingerprint = io::Checkpoint(base_).fingerprint();
    adapter_.layers["lm_head"] = {.a = random_tensor({2, 6}, 21),
                                  .b = random_tensor({9, 2}, 22),
                                  .a0 = at::zeros({2, 6}),
                                  .b0 = at::zeros({9, 2}),
                                  .magnitude = {}};
    write(adapter_);
  }
  at::Tensor embedding() const {
    return io::view_tensor(io::Checkpoint(base_), "model.embed_tokens.weight").clone();
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
  CapturedLog log_;
};

TEST_F(Merge, AScaleMultipliesTheChangeOfEveryLayer) {
  for (const double scale : {0.5, -1.0, 1.5}) {
    MergeSettings half = settings("merged-" + std::to_string(scale));
    half.dtype = "fp32";
    half.scale = {scale};
    run(half);
    const io::Checkpoint merged(half.out);
    for (const auto& module : {kQ, kUp}) {
      const at::Tensor base =
          io::view_tensor(io::Checkpoint(base_), module + ".weight").to(at::kFloat);
      const at::Tensor change = expected(module, at::kFloat) - base;
      const at::Tensor actual = io::view_tensor(merged, module + ".weight");
      EXPECT_LT((actual - base - scale * change).abs().max().item<double>(), 2e-6) << scale;
      EXPECT_GT(change.abs().max().item<double>(), 0.05);
    }
  }
}

TEST_F(Merge, AScaleOfZeroIsTheBase) {
  MergeSettings nothing = settings();
  nothing.scale = {0};
  run(nothing);
  const io::Checkpoint base(base_), merged(nothing.out);
  for (const auto& name : base.names())
    EXPECT_TRUE(at::equal(io::view_tensor(merged, name), io::view_tensor(base, name))) << name;
}

// Its rows are rescaled, so half of it is half of the way to the whole.
TEST_F(Merge, AScaledDoraLiesBetweenBaseAndWhole) {
  adapter_.method = "dora";
  adapter_.mode.clear();
  for (auto& [module, layer] : adapter_.layers) {
    layer.a0 = layer.b0 = at::Tensor();
    layer.magnitude = at::arange(1, layer.b.size(0) + 1).to(at::kFloat);
  }
  write(adapter_);
  const auto merged = [&](double scale) {
    MergeSettings s = settings("merged-" + std::to_string(scale));
    s.dtype = "fp32";
    s.scale = {scale};
    run(s);
    return io::view_tensor(io::Checkpoint(s.out), kUp + ".weight").clone();
  };
  const at::Tensor base = io::view_tensor(io::Checkpoint(base_), kUp + ".weight").to(at::kFloat);
  const at::Tensor whole = merged(1);
  EXPECT_LT((whole.norm(2, {1}) - at::arange(1, 11)).abs().max().item<double>(), 1e-5);
  EXPECT_LT((merged(0.25) - (0.75 * base + 0.25 * whole)).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(at::equal(merged(0), base));
}

TEST_F(Merge, OneScaleAndAPlaceToWriteAreNeeded) {
  MergeSettings several = settings();
  several.scale = {0.5, 1};
  EXPECT_EQ(failure<core::ConfigError>(several), "a merged model has one --scale; 2 were given");
  MergeSettings nowhere = settings();
  nowhere.out.clear();
  EXPECT_EQ(failure<core::ConfigError>(nowhere), "missing setting 'out'");
}

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
  EXPECT_THAT(names,
              ::testing::UnorderedElementsAre(
                  "config.json", "tokenizer.model", "chat_template.jinja",
                  "model.safetensors.index.json", "additional_chat_templates",
                  "additional_chat_templates/rag.jinja", "model-00001-of-00002.safetensors",
                  "model-00002-of-00002.safetensors", "settings.resolved.yaml", "README.md"));
}

TEST_F(Merge, TheCardIsTheMergedModelsAndThatOfTheBaseStaysBesideIt) {
  const std::string of_base = "---\nlicense: apache-2.0\n---\n# The base\n";
  core::write_file_atomic(base_ / "README.md", of_base);
  run(settings());
  const fs::path out = settings().out;
  EXPECT_EQ(core::read_file(out / "README-of-base.md"), of_base);
  const std::string card = core::read_file(out / "README.md");
  EXPECT_THAT(card, HasSubstr("\nlibrary_name: transformers\n"));
  EXPECT_THAT(card, HasSubstr("\nlicense: apache-2.0\n"));
  EXPECT_THAT(card,
              HasSubstr("`base` with a low-rank adapter (CorDA KPA) merged into its weights."));
  EXPECT_THAT(card, HasSubstr("| layers | `q_proj`, `up_proj` |\n"));
}

TEST_F(Merge, NoOldWeightsAreCarriedAlongAndWhatIsLeftBehindIsNamed) {
  // The base is one whole file beside what earlier saves and other formats left.
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  {
    const io::Checkpoint sharded(base_);
    for (const auto& name : sharded.names())
      tensors.emplace_back(name, io::view_tensor(sharded, name).clone());
  }
  io::save_tensors(base_ / "model.safetensors", tensors, {{"format", "pt"}});
  fs::create_directory(base_ / "original");
  for (const char* name : {"model.safetensors.index.fp16.json", "model.fp16.safetensors",
                           "pytorch_model.bin.index.json", "m-q4.gguf", "tf_model.h5",
                           "original/consolidated.00.pth"}) {
    core::write_file_atomic(base_ / name, "old");
  }
  run(settings());
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(settings().out))
    names.push_back(entry.path().filename().string());
  EXPECT_THAT(names, ::testing::UnorderedElementsAre(
                         "config.json", "tokenizer.model", "chat_template.jinja",
                         "additional_chat_templates", "model.safetensors", "settings.resolved.yaml",
                         "README.md"));
  EXPECT_THAT(log_.text, HasSubstr("warning: '" + base_.string() +
                                   "': the weights are those of model.safetensors"));
  EXPECT_THAT(log_.text,
              HasSubstr("info: not copied, since the merged weights are not in it: checkpoint-5/, "
                        "consolidated.pth, consolidated.safetensors, m-q4.gguf, "
                        "model-00001-of-00002.safetensors, model-00002-of-00002.safetensors, "
                        "model.fp16.safetensors, model.safetensors.index.fp16.json, "
                        "model.safetensors.index.json, original/, pytorch_model.bin, "
                        "pytorch_model.bin.index.json, tf_model.h5\n"));
}

TEST_F(Merge, AHeadOfItsOwnIsMergedAndATiedOneRefused) {
  give_head(bf16({9, 6}, 8), /*tied=*/false);
  run(settings("untied"));
  EXPECT_TRUE(at::equal(io::view_tensor(io::Checkpoint(settings("untied").out), "lm_head.weight"),
                        expected("lm_head", at::kBFloat16)));
  for (const bool stored : {true, false}) {
    SCOPED_TRACE(stored ? "a copy of the embedding" : "no tensor");
    give_head(embedding(), /*tied=*/true);
    if (!stored) {
      core::Json index = core::read_json(base_ / "model.safetensors.index.json");
      index["weight_map"].erase("lm_head.weight");
      core::write_json(base_ / "model.safetensors.index.json", index);
      adapter_.base_fingerprint = io::Checkpoint(base_).fingerprint();
      write(adapter_);
    }
    EXPECT_THAT(failure<core::FormatError>(settings()),
                HasSubstr("changes 'lm_head', but '" + base_.string() +
                          "' has its head tied to the embedding (tie_word_embeddings)"));
    EXPECT_FALSE(fs::exists(settings().out));
  }
}

// transformers 5 leaves such a head apart; the merged one must not be taken for tied elsewhere.
TEST_F(Merge, AChangedHeadThatDiffersFromTheEmbeddingIsNoLongerCalledTied) {
  give_head(bf16({9, 6}, 8), /*tied=*/true);
  run(settings());
  EXPECT_EQ(core::read_json(fs::path(settings().out) / "config.json")["tie_word_embeddings"],
            false);
  EXPECT_TRUE(at::equal(io::view_tensor(io::Checkpoint(settings().out), "lm_head.weight"),
                        expected("lm_head", at::kBFloat16)));
  adapter_.layers.erase("lm_head");
  write(adapter_);
  run(settings("other"));
  EXPECT_EQ(core::read_file(fs::path(settings("other").out) / "config.json"),
            core::read_file(base_ / "config.json"));
}

// A directory as PEFT writes it, with `extra` tensors beside those of kQ.
void write_peft(const fs::path& directory, core::Json config,
                std::vector<std::pair<std::string, at::Tensor>> extra = {}) {
  fs::create_directories(directory);
  fs::remove(directory / "corda.json");
  config["peft_type"] = "LORA";
  config["r"] = 2;
  config["lora_alpha"] = 3;
  core::write_json(directory / "adapter_config.json", config);
  extra.emplace_back("base_model.model." + kQ + ".lora_A.weight", random_tensor({2, 6}, 31));
  extra.emplace_back("base_model.model." + kQ + ".lora_B.weight", random_tensor({6, 2}, 32));
  io::save_tensors(directory / "adapter_model.safetensors", extra);
}

TEST_F(Merge, ACopyOfABaseWeightInTheAdapterMustBeTheBases) {
  const std::string name = "base_model.model.model.embed_tokens.weight";
  write_peft(scratch_.path() / "adapter", {{"target_modules", {"q_proj"}}},
             {{name, embedding().to(at::kFloat)}});
  EXPECT_EQ(run(settings()).merged, 1);
  write_peft(scratch_.path() / "adapter", {{"target_modules", {"q_proj"}}},
             {{name, embedding() + 1}});
  EXPECT_THAT(failure<core::FormatError>(settings("other")),
              HasSubstr("holds '" + name + "', which is not the 'model.embed_tokens.weight' of"));
  write_peft(scratch_.path() / "adapter", {{"target_modules", {"q_proj"}}},
             {{"base_model.model." + kUp + ".base_layer.weight", at::zeros({10, 6})}});
  EXPECT_THAT(failure<core::FormatError>(settings("other")), HasSubstr("PEFT would replace"));
}

TEST_F(Merge, LayersThatTheConfigurationNamesAndTheFileLacksAreWarnedOf) {
  write_peft(scratch_.path() / "adapter", {{"target_modules", {"q_proj", "up_proj"}}});
  run(settings("a"));
  EXPECT_THAT(log_.text, HasSubstr("has no tensors for 1 layers that its adapter_config.json "
                                   "names, '" +
                                   kUp + "'; they stay as in the base"));
  write_peft(scratch_.path() / "adapter",
             {{"target_modules", {"q_proj", "up_proj"}}, {"exclude_modules", {"up_proj"}}});
  run(settings("b"));
  EXPECT_THAT(log_.text, ::testing::Not(HasSubstr("no tensors")));
  write_peft(scratch_.path() / "adapter", {{"target_modules", "all-linear"}});
  run(settings("c"));
  EXPECT_THAT(log_.text, HasSubstr("no tensors for 1 layers"));
  // The base has no lm_head.weight: its head is the embedding.
  write_peft(scratch_.path() / "adapter",
             {{"target_modules", {"q_proj", "lm_head", "embed_tokens"}}});
  run(settings("d"));
  EXPECT_THAT(log_.text, HasSubstr("has no tensors for 2 layers that its adapter_config.json "
                                   "names, 'model.embed_tokens', 'lm_head'; they stay as in the "
                                   "base"));
}

TEST_F(Merge, AnotherBaseNameWithoutAFingerprintIsWarnedOf) {
  for (const auto& [name, warns] :
       {std::pair("someone/base", false), std::pair("/else/where/Base/", false),
        std::pair("meta-llama/Llama-2-7b-hf", true), std::pair("base-bnb-4bit", true)}) {
    SCOPED_TRACE(name);
    write_peft(scratch_.path() / "adapter",
               {{"target_modules", {"q_proj"}}, {"base_model_name_or_path", name}});
    run(settings("of-" + std::to_string(std::string(name).size())));
    const std::string warning = std::string("was made for '") + name +
                                "' (base_model_name_or_path); whether '" + base_.string() +
                                "' is the same model cannot be told";
    EXPECT_EQ(log_.text.find(warning) != std::string::npos, warns) << log_.text;
  }
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

// As --verify is given to it: the merged model is complete when it is looked at, and is no result
// where that fails.
TEST_F(Merge, AFailedCheckLeavesNothing) {
  fs::path seen;
  const auto check = [&](const fs::path& merged) {
    seen = merged;
    EXPECT_TRUE(io::Checkpoint(merged).contains(kQ + ".weight"));
    EXPECT_TRUE(fs::exists(merged / "config.json"));
    throw core::NumericalError("--verify: they differ");
  };
  EXPECT_EQ(error_of<core::NumericalError>([&] { merge(settings(), log_, check); }),
            "--verify: they differ");
  EXPECT_FALSE(seen.empty());
  EXPECT_FALSE(fs::exists(seen));
  EXPECT_FALSE(fs::exists(settings().out));
}

TEST_F(Merge, ThreadsAreThoseAskedForAndChangeNoByte) {
  const int before = at::get_num_threads();
  std::vector<std::string> weights;
  for (const int threads : {1, 3}) {
    MergeSettings s = settings(core::concat("with-", threads));
    s.threads = threads;
    run(s);
    EXPECT_EQ(at::get_num_threads(), threads);
    weights.push_back(core::read_file(fs::path(s.out) / "model-00001-of-00002.safetensors"));
  }
  EXPECT_EQ(weights[0], weights[1]);
  at::set_num_threads(before);
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
