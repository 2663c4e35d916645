// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/train/estimate.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "corda/adapter/initialise.h"
#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/linalg/device.h"
#include "corda/quant/write_copy.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"
#include "train/low_rank_pass.h"
#include "train/trainable.h"

namespace corda::train {
namespace {

namespace fs = std::filesystem;
using corda::testing::error_of;
using core::Json;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class EstimateTest : public ::testing::Test {
 protected:
  std::string at(const std::string& name) const { return (folder_.path() / name).string(); }

  // A Llama's config.json and nothing else.
  std::string config(const std::string& name, const Json& changes = Json::object()) const {
    Json json = {{"model_type", "llama"},
                 {"hidden_size", 4096},
                 {"intermediate_size", 11008},
                 {"num_hidden_layers", 32},
                 {"num_attention_heads", 32},
                 {"num_key_value_heads", 32},
                 {"vocab_size", 32000},
                 {"rms_norm_eps", 1e-5},
                 {"max_position_embeddings", 4096},
                 {"tie_word_embeddings", false}};
    json.update(changes);
    fs::create_directories(at(name));
    core::write_json(at(name) + "/config.json", json);
    return at(name);
  }
  TrainSettings settings(const std::string& model, std::int64_t batch, std::int64_t length) const {
    TrainSettings result;
    result.model = model;
    result.lora.rank = 128;
    result.data.train = {{.path = at("none.jsonl")}};
    result.data.max_length = length;
    result.optim.batch_size = batch;
    result.optim.micro_batch_tokens = batch * length;
    result.out = at("run");
    return result;
  }
  Estimate plan(const TrainSettings& given, const std::string& gpu) const {
    core::Reporter silent;
    return estimate(given, gpu_named(gpu), std::nullopt, silent);
  }
  // The gigabytes of the tensors, as the GPU's allocator counts them.
  static double gigabytes(const Estimate& plan) {
    std::int64_t bytes = 0;
    for (const MemoryPart& part : plan.parts) {
      if (part.what.find("evaluation") == std::string::npos && part.what != "CUDA context")
        bytes += part.bytes;
    }
    return static_cast<double>(bytes) * 1e-9;
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST(Gpus, AreFoundByWhatPeopleCallThem) {
  EXPECT_EQ(gpu_named("H100").name, "H100");
  EXPECT_EQ(gpu_named("NVIDIA H100 80GB").name, "H100");
  EXPECT_EQ(gpu_named("4090").name, "RTX 4090");
  EXPECT_EQ(gpu_named("rtx-3090").name, "RTX 3090");
  EXPECT_EQ(gpu_named("a100-40gb").name, "A100 40GB");
  EXPECT_EQ(gpu_named("A100-SXM4-80GB").name, "A100");
  EXPECT_EQ(gpu_named("NVIDIA RTX A5000").name, "A5000");
  for (const char* name : {"L4", "L40", "L40S", "A10", "A10G", "A30"})
    EXPECT_EQ(gpu_named(name).name, name);
  EXPECT_THAT(error_of<core::ConfigError>([] { gpu_named("voodoo"); }),
              HasSubstr("the GPU 'voodoo' is not known; the names are B200, H200"));
  EXPECT_THAT(error_of<core::ConfigError>([] { gpu_named("V100"); }),
              HasSubstr("a GPU before Ampere (V100, T4 and older) cannot be used"));
}

// Multiprocessors and boost clocks of the data sheets: what a table says of a card is what the card
// is found to do where it is there.
TEST(Gpus, HaveThePeaksThatAreFoundOnTheCards) {
  struct Card {
    const char* name;
    const char* product;
    int multiprocessors;
    double megahertz;
  };
  for (const Card& card : {Card{"L40", "NVIDIA L40", 142, 2490},
                           {"L40S", "NVIDIA L40S", 142, 2520},
                           {"L20", "NVIDIA L20", 92, 2520},
                           {"L4", "NVIDIA L4", 58, 2040},
                           {"A30", "NVIDIA A30", 56, 1440},
                           {"A10", "NVIDIA A10", 72, 1695},
                           {"A10G", "NVIDIA A10G", 80, 1710},
                           {"A5000", "NVIDIA RTX A5000", 64, 1695},
                           {"H20", "NVIDIA H20", 78, 1830},
                           {"RTX 3080", "NVIDIA GeForce RTX 3080", 68, 1710},
                           {"RTX 3090", "NVIDIA GeForce RTX 3090", 82, 1695},
                           {"RTX 5090", "NVIDIA GeForce RTX 5090", 170, 2407}}) {
    const Gpu gpu = gpu_named(card.name);
    EXPECT_NEAR(gpu.flops,
                linalg::peak_16bit_flops(card.product, gpu.major, gpu.minor, card.multiprocessors,
                                         1e6 * card.megahertz),
                0.015 * gpu.flops)
        << card.name;
  }
}

// Peaks of the GPU's allocator (docs/memory-and-speed.md), measured on an H100 and an H200.
TEST_F(EstimateTest, MemoryIsWhatWasMeasured) {
  const std::string seven = config("7b");
  const std::string one = config("1b", {{"hidden_size", 2048},
                                        {"intermediate_size", 8192},
                                        {"num_hidden_layers", 16},
                                        {"num_key_value_heads", 8},
                                        {"vocab_size", 128256},
                                        {"tie_word_embeddings", true}});
  const std::string qwen = config("qwen", {{"model_type", "qwen2"},
                                           {"hidden_size", 896},
                                           {"intermediate_size", 4864},
                                           {"num_hidden_layers", 24},
                                           {"num_attention_heads", 14},
                                           {"num_key_value_heads", 2},
                                           {"vocab_size", 151936},
                                           {"tie_word_embeddings", true}});
  const std::string qwen3 = config("qwen3", {{"model_type", "qwen3"},
                                             {"intermediate_size", 12288},
                                             {"num_hidden_layers", 36},
                                             {"num_key_value_heads", 8},
                                             {"head_dim", 128},
                                             {"vocab_size", 151936}});
  struct Case {
    std::string model;
    std::int64_t batch, length;
    double measured;
    std::vector<std::string> settings = {};
  };
  const std::vector<Case> cases = {
      {seven, 4, 2048, 45.9},
      {seven, 8, 512, 33.1},
      {seven, 1, 2048, 26.4},
      {seven, 4, 2048, 44.2, {"train_a=false"}},
      {seven, 4, 2048, 21.7, {"recompute=block"}},
      {seven, 4, 2048, 36.4, {"base=nf4"}},
      {seven, 1, 2048, 11.4, {"base=nf4", "recompute=block"}},
      {seven, 4, 2048, 39.6, {"base=fp8"}},
      {one, 8, 512, 8.5},
      {qwen3, 4, 2048, 50.4},
      {seven, 1, 2048, 32.7, {"method=dora"}},
      {one, 8, 512, 23.6, {"method=full"}},
      {qwen, 8, 512, 6.1},
  };
  for (const Case& one_case : cases) {
    TrainSettings given = settings(one_case.model, one_case.batch, one_case.length);
    for (const std::string& setting : one_case.settings) settings_of(given).set_assignment(setting);
    if (given.method == "full") given.lora.rank = 0;
    EXPECT_NEAR(gigabytes(plan(given, "H200")), one_case.measured, 0.1 * one_case.measured)
        << one_case.model << " " << one_case.batch << " x " << one_case.length << " "
        << core::listed(one_case.settings);
  }
}

TEST_F(EstimateTest, ItIsThatOfTheLoadedModelToTheByte) {
  corda::testing::write_tiny_model(at("tiny"), {.vocab = 257});
  TrainSettings given = settings(at("tiny"), 4, 64);
  given.lora.rank = 4;
  given.precision = "fp32";
  core::Reporter silent;
  const Estimate planned = plan(given, "H100");
  Trainable real(given, at::kCPU, silent);
  std::int64_t weights = 0;
  for (const auto& [name, tensor] : real.model().parameters())
    weights += static_cast<std::int64_t>(tensor->nbytes());
  std::int64_t trained = 0;
  for (const auto& [name, tensor] : real.parameters()) trained += tensor.numel();
  EXPECT_EQ(planned.trained_parameters, trained);
  EXPECT_EQ(planned.parts[0].what, "weights, fp32");
  EXPECT_EQ(planned.parts[0].bytes, weights);
  EXPECT_EQ(planned.parts[1].bytes, 4 * trained);
  EXPECT_EQ(planned.parts[2].bytes, 8 * trained);
  EXPECT_EQ(planned.parts[3].bytes,
            low_rank_pass_bytes(real.model(), {.recompute = Recompute::kNone, .tokens = 256}));
  fs::remove(at("tiny") + "/model.safetensors");
  EXPECT_EQ(plan(given, "H100").total_bytes, planned.total_bytes) << "no weights are read";
}

// 70 billion parameters on two cards hold 70 GB of weights each, and two blocks whole.
TEST_F(EstimateTest, AShardedBaseIsHeldInParts) {
  TrainSettings given = settings(config("70b", {{"hidden_size", 8192},
                                                {"intermediate_size", 28672},
                                                {"num_hidden_layers", 80},
                                                {"num_attention_heads", 64},
                                                {"num_key_value_heads", 8},
                                                {"vocab_size", 128256}}),
                                 1, 2048);
  given.lora.rank = 16;
  const auto parts_of = [&](int gpus) {
    core::Reporter silent;
    std::map<std::string, double> parts;
    for (const MemoryPart& part :
         estimate(given, gpu_named("H200"), std::nullopt, silent, gpus).parts)
      parts[part.what] = static_cast<double>(part.bytes) * 1e-9;
    return parts;
  };
  constexpr double kHeadAndEmbedding = 2 * 2 * 128256 * 8192e-9;
  EXPECT_NEAR(parts_of(2).at("weights, bf16"), 141.1, 0.1);
  given.shard = true;
  EXPECT_NEAR(parts_of(1).at("weights, bf16"), 141.1, 0.1);
  const auto two = parts_of(2);
  EXPECT_NEAR(two.at("weights, bf16"), (141.1 - kHeadAndEmbedding) / 2 + kHeadAndEmbedding, 0.1);
  EXPECT_NEAR(two.at("two whole blocks"), 2 * (141.1 - kHeadAndEmbedding) / 80, 0.01);
}

// 7 billion parameters of 16 bytes, a share each, and two blocks of 202 million whole, with their
// gradients.
TEST_F(EstimateTest, AllThatMethodFullTrainsIsHeldInParts) {
  TrainSettings given = settings(config("7b"), 4, 2048);
  given.method = "full";
  given.lora.rank = 0;
  core::Reporter silent;
  const auto planned = [&](int gpus) {
    return estimate(given, gpu_named("H100"), std::nullopt, silent, gpus);
  };
  const Estimate whole = planned(8);
  EXPECT_FALSE(whole.fits);
  EXPECT_THAT(whole.advice, ElementsAre("shard=true"));
  given.shard = true;
  EXPECT_EQ(planned(1).total_bytes, whole.total_bytes) << "one has nobody to share with";
  const Estimate eight = planned(8);
  EXPECT_TRUE(eight.fits);
  EXPECT_EQ(eight.recompute, "block");
  std::map<std::string, double> parts;
  for (const MemoryPart& part : eight.parts) parts[part.what] = static_cast<double>(part.bytes);
  constexpr double kShare = 6.738e9 / 8;
  EXPECT_NEAR(parts.at("weights, a part of 8, fp32"), 4 * kShare, 1e-3 * 4 * kShare);
  EXPECT_NEAR(parts.at("gradients, a part of 8, fp32"), 4 * kShare, 1e-3 * 4 * kShare);
  EXPECT_NEAR(parts.at("optimizer's two moments, a part of 8, fp32"), 8 * kShare, 8e-3 * kShare);
  EXPECT_NEAR(parts.at("whole blocks or head in use, with gradients, fp32"),
              4 * 202.4e6 * (4 + 1.0 / 8), 1e7);
  EXPECT_GT(parts.at("activations and workspace of a micro-batch"), 32 * 8192 * 4096 * 2.0);
}

// The same codes are counted whether they stand in the files or are made while loading.
TEST_F(EstimateTest, AModelThatIsQuantisedOnDiskIsCountedAsItsFilesHoldIt) {
  corda::testing::write_tiny_model(
      at("tiny"), {.vocab = 257, .hidden = 128, .intermediate = 256, .dtype = at::kBFloat16});
  const quant::ModelWeights dense{io::Checkpoint(at("tiny"))};
  TrainSettings given = settings(at("tiny"), 4, 64);
  given.lora.rank = 8;
  const Estimate in_16_bits = plan(given, "H100");
  for (const auto& [base, format] : {std::pair{quant::Base::kNf4, "bitsandbytes nf4"},
                                     std::pair{quant::Base::kFloat8, "float8"}}) {
    const std::string name = quant::base_names()[static_cast<std::size_t>(base)];
    SCOPED_TRACE(name);
    fs::create_directories(at(name));
    quant::write_quantised(dense, at(name), {.base = base}, [&](const std::string& layer) {
      return quant::quantise(dense.view(layer), {.base = base});
    });
    given.model = at("tiny");
    given.base = name;
    const Estimate while_loading = plan(given, "H100");
    given.model = at(name);
    given.base = "auto";
    const Estimate on_disk = plan(given, "H100");
    EXPECT_EQ(on_disk.total_bytes, while_loading.total_bytes);
    EXPECT_LT(on_disk.total_bytes, in_16_bits.total_bytes);
    EXPECT_EQ(on_disk.parts.front().what, std::string("weights, ") + format);
    given.base = "bf16";
    EXPECT_EQ(plan(given, "H100").total_bytes, in_16_bits.total_bytes);
  }
}

// Ranks of the adapter's own layers, of which one is missing, and what it trains.
TEST_F(EstimateTest, AnAdapterIsCountedLayerByLayer) {
  corda::testing::write_tiny_model(at("tiny"), {.vocab = 257});
  adapter::Adapter made;
  made.method = "corda";
  made.mode = "mica";
  made.rank = 4;
  made.alpha = 4;
  made.train_b = false;
  const model::Model model =
      model::load_model(io::Checkpoint(at("tiny")), model::read_model_config(at("tiny")), {});
  std::int64_t rank = 1;
  for (const model::Linear* linear : model.linear_layers()) {
    if (linear->name == "model.layers.0.self_attn.k_proj") continue;
    auto& layer = made.layers[linear->name];
    layer = adapter::initialise_lora(linear->weight.size(0), linear->weight.size(1), rank, 1,
                                     linear->name);
    layer.alpha = static_cast<double>(rank);
    rank = rank % 7 + 1;
  }
  fs::create_directories(at("adapter"));
  adapter::write_adapter(at("adapter"), made);
  TrainSettings given = settings(at("tiny"), 4, 64);
  given.method = "corda";
  given.adapter = at("adapter");
  given.lora.rank = 0;
  given.precision = "fp32";
  core::Reporter silent;
  const Estimate planned = plan(given, "H100");
  Trainable real(given, at::kCPU, silent);
  std::int64_t trained = 0;
  for (const auto& [name, tensor] : real.parameters()) trained += tensor.numel();
  EXPECT_EQ(planned.trained_parameters, trained);
  EXPECT_EQ(planned.rank, 7);
  EXPECT_EQ(planned.parts[3].bytes,
            low_rank_pass_bytes(real.model(), {.recompute = Recompute::kNone, .tokens = 256}));
}

TEST_F(EstimateTest, TheAdviceMakesItFit) {
  const std::string seven = config("7b");
  const Estimate large = plan(settings(seven, 4, 2048), "H100");
  EXPECT_TRUE(large.fits);
  EXPECT_EQ(large.recompute, "none");
  EXPECT_THAT(large.advice, IsEmpty());
  EXPECT_NE(plan(settings(seven, 4, 2048), "A100 40GB").recompute, "none");
  // 13 GB of weights alone need codes on a card of 12.
  for (const auto& [gpu, method] :
       {std::pair{"4090", "lora"}, {"A100 40GB", "full"}, {"RTX 3060", "lora"}}) {
    TrainSettings given = settings(seven, 16, 2048);
    given.method = method;
    if (given.method == "full") given.lora.rank = 0;
    given.recompute = given.method == "full" ? "auto" : "none";
    const Estimate tight = plan(given, gpu);
    EXPECT_FALSE(tight.fits) << gpu;
    ASSERT_THAT(tight.advice, Not(IsEmpty())) << gpu;
    for (const std::string& setting : tight.advice) settings_of(given).set_assignment(setting);
    EXPECT_TRUE(plan(given, gpu).fits) << gpu;
  }
  TrainSettings float8 = settings(seven, 1, 2048);
  float8.precision = "fp8";
  EXPECT_THAT(plan(float8, "RTX 4080").advice, ::testing::Contains("base=nf4"));
  // Gate and up, 22016 x 4096, are the widest that is made: 90 MB of codes, 8 million elements in
  // bf16 and in float8, and inputs of as many columns, 2048 x 22016; float8 needs no packed matrix.
  float8.base = "nf4";
  float8.recompute = "block";
  TrainSettings codes = float8;
  codes.precision = "bf16";
  const auto bytes = [&](const TrainSettings& given) { return plan(given, "H100").total_bytes; };
  EXPECT_NEAR(static_cast<double>(bytes(float8) - bytes(codes)),
              (22016 * 4096.0 + 3 * 8388608.0 + 2048 * 22016.0) -
                  2 * (22016 + 2 * 128.0) * (4096 + 2 * 128.0),
              1e6);
  const std::string fifty = config("50b", {{"num_hidden_layers", 240}});
  EXPECT_THAT(plan(settings(fifty, 4, 2048), "RTX 3060").advice, IsEmpty());
}

// What README says of a card of 24 GB.
TEST_F(EstimateTest, QwenOf7BillionFitsACardOf24Gigabytes) {
  TrainSettings given = settings(config("qwen-7b", {{"model_type", "qwen2"},
                                                    {"hidden_size", 3584},
                                                    {"intermediate_size", 18944},
                                                    {"num_hidden_layers", 28},
                                                    {"num_attention_heads", 28},
                                                    {"num_key_value_heads", 4},
                                                    {"vocab_size", 152064}}),
                                 1, 2048);
  given.lora.rank = 32;
  const Estimate plain = plan(given, "4090");
  EXPECT_TRUE(plain.fits);
  EXPECT_NEAR(static_cast<double>(plain.total_bytes) * 1e-9, 20.8, 0.05);
  given.base = "nf4";
  const Estimate codes = plan(given, "4090");
  EXPECT_TRUE(codes.fits);
  EXPECT_NEAR(static_cast<double>(codes.total_bytes) * 1e-9, 15.6, 0.05);
}

TEST_F(EstimateTest, TimeNeedsDataAndGrowsWithThem) {
  const TrainSettings given = settings(config("7b"), 4, 2048);
  core::Reporter silent;
  const auto planned = [&](std::int64_t samples) {
    return estimate(given, gpu_named("H100"),
                    DataSize{.samples = samples, .mean_tokens = 500, .longest = 2000}, silent);
  };
  EXPECT_EQ(plan(given, "H100").seconds, 0);
  EXPECT_EQ(planned(1000).steps, 250);
  EXPECT_EQ(planned(1000).tokens, 500'000);
  EXPECT_NEAR(planned(2000).seconds, 2 * planned(1000).seconds, 1e-6);
  // Measured: 19 099 tokens a second (docs/benchmarks.md).
  EXPECT_NEAR(planned(1000).tokens_per_second, 19'099, 0.2 * 19'099);
}

// 1.36 times (docs/benchmarks.md) where every layer is a multiple of 128 wide.
TEST_F(EstimateTest, Float8IsFasterWhereItIsUsed) {
  const auto ratio = [&](const std::string& model, const std::string& base = "auto") {
    TrainSettings given = settings(model, 4, 2048);
    given.base = base;
    const double plain = plan(given, "H200").tokens_per_second;
    given.precision = "fp8";
    return plan(given, "H200").tokens_per_second / plain;
  };
  EXPECT_NEAR(ratio(config("7b")), 1.36, 1e-6);
  EXPECT_NEAR(ratio(config("7b"), "nf4"), 1.24, 1e-6);
  const double part = ratio(config("odd", {{"intermediate_size", 4900}}));
  EXPECT_GT(part, 1.05);
  EXPECT_LT(part, 1.25);
  EXPECT_THAT(error_of<core::ConfigError>([&] {
                ratio(config("none", {{"hidden_size", 576},
                                      {"intermediate_size", 1500},
                                      {"num_attention_heads", 9},
                                      {"num_key_value_heads", 3}}));
              }),
              HasSubstr("none of this model is ('model.layers.0.self_attn.q_proj' is 576 x 576)"));
}

// As the run itself does there; the compute capabilities are those that NVIDIA lists.
TEST_F(EstimateTest, Float8IsRefusedForAGpuWithoutItsTensorCores) {
  TrainSettings given = settings(config("7b"), 1, 2048);
  given.precision = "fp8";
  std::vector<std::string> refused;
  for (const Gpu& gpu : known_gpus()) {
    const std::string message = error_of<core::ConfigError>([&] { plan(given, gpu.name); });
    if (message == "no error") continue;
    EXPECT_THAT(message, HasSubstr(core::concat("and '", gpu.name, "' has 8.", gpu.minor,
                                                "; use precision: bf16")));
    refused.push_back(gpu.name);
  }
  EXPECT_THAT(refused, ElementsAre("A100", "A100 40GB", "A30", "A6000", "A40", "A10", "A10G",
                                   "A5000", "RTX 3090", "RTX 3080", "RTX 3060"));
  given.precision = "bf16";
  EXPECT_TRUE(plan(given, "A100").fits);
}

TEST_F(EstimateTest, DataThatAreNotThereAreNotMeasured) {
  corda::testing::write_tiny_model(at("tiny"), {.vocab = 257});
  TrainSettings given = settings(at("tiny"), 4, 256);
  core::Reporter silent;
  EXPECT_FALSE(measure_data(given, silent));
  std::ofstream data(at("none.jsonl"));
  for (int i = 0; i < 2500; ++i) data << "{\"prompt\": \"abcd\", \"completion\": \"efgh\"}\n";
  data.close();
  const auto size = measure_data(given, silent);
  ASSERT_TRUE(size);
  EXPECT_EQ(size->samples, 2500);
  EXPECT_EQ(size->mean_tokens, static_cast<double>(size->longest));
  // However long a replayed file is, only as much of it is drawn as makes up its share.
  std::ofstream general(at("general.jsonl"));
  for (int i = 0; i < 9000; ++i) general << "{\"prompt\": \"abcd\", \"completion\": \"efg\"}\n";
  general.close();
  given.data.replay = {.files = {{.path = at("general.jsonl")}}, .share = 0.2};
  const auto with_replay = measure_data(given, silent);
  ASSERT_TRUE(with_replay);
  EXPECT_EQ(with_replay->samples, 3125);
  EXPECT_NEAR(with_replay->mean_tokens, size->mean_tokens - 0.2, 1e-9);  // one token less in five
}

// A quarter of what is looked at is bad, and nothing behind it: as training would find them.
TEST_F(EstimateTest, BadRecordsThatAreSkippedAreNotCounted) {
  corda::testing::write_tiny_model(at("tiny"), {.vocab = 257});
  TrainSettings given = settings(at("tiny"), 4, 256);
  core::Reporter silent;
  for (const int records : {800, 2500}) {
    std::ofstream data(at("none.jsonl"));
    int good = 0;
    for (int i = 0; i < records; ++i) {
      const bool bad = i < 1000 && i % 4 == 3;
      data << (bad ? "{\"prompt\": \"abcd\",\n"
                   : "{\"prompt\": \"abcd\", \"completion\": \"efgh\"}\n");
      good += bad ? 0 : 1;
    }
    data.close();
    given.data.skip_bad = true;
    const auto size = measure_data(given, silent);
    ASSERT_TRUE(size);
    EXPECT_EQ(size->samples, good);
  }
}

TEST_F(EstimateTest, DataThatDoNotFitTheModelAreRefused) {
  corda::testing::write_tiny_model(at("tiny"), {.vocab = 104});  // up to 'f'
  std::ofstream(at("none.jsonl")) << "{\"prompt\": \"abcd\", \"completion\": \"efgh\"}\n";
  core::Reporter silent;
  TrainSettings given = settings(at("tiny"), 4, 256);
  given.data.template_name = "plain";
  EXPECT_THAT(error_of<core::ConfigError>([&] { measure_data(given, silent); }),
              HasSubstr("none.jsonl:1:1: token id 104 ('g') is beyond the model's vocabulary"));
}

}  // namespace
}  // namespace corda::train
