// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/inspect/inspect.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "corda/adapter/adapter.h"
#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/io/covariance_store.h"
#include "corda/io/tensor.h"
#include "core/json.h"
#include "support/captured_log.h"
#include "support/error_of.h"
#include "support/random_tensor.h"
#include "support/temporary_directory.h"
#include "support/tiny_model.h"

namespace corda::inspect {
namespace {

using corda::testing::error_of;
using corda::testing::random_tensor;
using core::Json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kQ = "model.layers.0.self_attn.q_proj";
const std::string kOtherQ = "model.layers.1.self_attn.q_proj";
const std::string kUp = "model.layers.1.mlp.up_proj";

class Inspect : public ::testing::Test {
 protected:
  void SetUp() override { corda::testing::write_tiny_model(at("base"), {.vocab = 257}); }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  Json facts(const std::string& name, const std::string& model = "", bool spectra = false,
             const std::string& covariance = "") const {
    core::Reporter silent;
    return core::parse_json(
        inspect_json({.path = at(name).string(),
                      .model = model.empty() ? "" : at(model).string(),
                      .spectra = spectra,
                      .covariance = covariance.empty() ? "" : at(covariance).string()},
                     silent),
        name);
  }
  // Writes covariances for q of both blocks and for up of the second. They are unequal, so that the
  // direction counts.
  void write_covariance(const std::string& name) const {
    io::CovarianceWriter writer(at(name), io::CovarianceStorage::kFull);
    const at::Tensor inputs = at::diag(at::arange(1, 33).to(at::kFloat));
    writer.add("model.layers.0.self_attn.input", {kQ}, 20, inputs);
    writer.add("model.layers.1.self_attn.input", {kOtherQ}, 20, inputs);
    writer.add("model.layers.1.mlp.input", {kUp}, 20, 100 * at::eye(32));
    writer.finish({.model = io::Checkpoint(at("base")).fingerprint(),
                   .model_name = "base",
                   .tokens = 20,
                   .samples = 2,
                   .activation_scaling = "none",
                   .settings = {},
                   .sites = {}});
  }

  // Hidden size 32, intermediate size 48.
  adapter::Adapter lora(std::int64_t rank) const {
    adapter::Adapter result;
    result.rank = rank;
    result.alpha = 2 * static_cast<double>(rank);
    result.base_name = "base";
    result.base_fingerprint = io::Checkpoint(at("base")).fingerprint();
    result.base_blocks = 2;
    result.layers[kQ].a = random_tensor({rank, 32}, 1);
    result.layers[kQ].b = random_tensor({32, rank}, 2);
    result.layers[kUp].a = random_tensor({rank, 32}, 3);
    result.layers[kUp].b = at::zeros({48, rank});
    return result;
  }
  void write(const std::string& name, const adapter::Adapter& adapter) const {
    fs::create_directories(at(name));
    adapter::write_adapter(at(name), adapter);
  }

  corda::testing::TemporaryDirectory folder_;
};

TEST_F(Inspect, AModelIsItsGeometryAndItsWeights) {
  const Json model = facts("base", "base");
  EXPECT_EQ(model["kind"], "model");
  EXPECT_EQ(model["family"], "llama");
  EXPECT_EQ(model["blocks"], 2);
  EXPECT_EQ(model["heads"], 4);
  EXPECT_EQ(model["key_value_heads"], 2);
  EXPECT_EQ(model["head_dim"], 8);
  EXPECT_EQ(model["largest_rank"], 16);  // k_proj is [16, 32]
  // Embedding and head 2 x 257 x 32; a block 32 (32 + 16 + 16 + 32) + 3 x 32 x 48 and two norms.
  EXPECT_EQ(model["parameters"], 2 * 257 * 32 + 2 * (32 * 96 + 3 * 32 * 48 + 64) + 32);
  EXPECT_EQ(model["bytes"], 4 * model["parameters"].get<std::int64_t>());
  EXPECT_EQ(model["dtypes"], (Json{{"F32", model["parameters"]}}));
  EXPECT_EQ(model["tokenizer"], Json::array({"tokenizer.json"}));
  EXPECT_EQ(model["fit"]["fits"], true);
  corda::testing::write_tiny_model(at("other"), {.vocab = 257, .seed = 2});
  const Json unlike = facts("base", "other");
  EXPECT_EQ(unlike["fit"]["fits"], false);
  EXPECT_THAT(unlike["fit"]["reason"].get<std::string>(), StartsWith("the weights differ: "));
}

TEST_F(Inspect, AModelThatIsNotUnderstoodIsSaidToBe) {
  fs::create_directories(at("new"));
  core::write_json(
      at("new") / "config.json",
      {{"model_type", "mystery"}, {"quantization_config", {{"quant_method", "gptq"}}}});
  const Json model = facts("new");
  EXPECT_EQ(model["reads"], false);
  EXPECT_THAT(model["reason"].get<std::string>(), HasSubstr("mystery"));
  EXPECT_EQ(model["quantised"], "gptq");
  EXPECT_THAT(model["weights"].get<std::string>(), HasSubstr("model.safetensors"));
}

TEST_F(Inspect, AnAdapterSaysWhatItIsAndWhetherItFits) {
  write("a", lora(4));
  const Json adapter = facts("a", "base");
  EXPECT_EQ(adapter["kind"], "adapter");
  EXPECT_EQ(adapter["method"], "lora");
  EXPECT_EQ(adapter["rank"], 4);
  EXPECT_EQ(adapter["stored_rank"], 4);
  EXPECT_EQ(adapter["scale"], 2.0);
  EXPECT_EQ(adapter["target_modules"], Json::array({"q_proj", "up_proj"}));
  EXPECT_EQ(adapter["parameters"], 4 * (32 + 32) + 4 * (32 + 48));
  EXPECT_EQ(adapter["fit"]["fits"], true);
  EXPECT_EQ(adapter["layers"][1]["update_norm"], 0.0);
  EXPECT_EQ(adapter["update_norm"], adapter["layers"][0]["update_norm"]);
  corda::testing::write_tiny_model(at("other"), {.vocab = 257, .seed = 2});
  const Json unlike = facts("a", "other");
  EXPECT_EQ(unlike["fit"]["fits"], false);
  EXPECT_THAT(unlike["fit"]["reason"].get<std::string>(),
              HasSubstr("the adapter was made for another base model"));
  EXPECT_EQ(unlike["vllm"]["loads"], false);
}

TEST_F(Inspect, SpectraAreOfTheStoredProduct) {
  adapter::Adapter kpa = lora(3);
  kpa.method = "corda";
  kpa.mode = "kpa";
  for (auto& [module, layer] : kpa.layers) {
    layer.a0 = layer.a.clone();
    layer.b0 = layer.b.clone();
    layer.b = layer.b + 1;
  }
  write("k", kpa);
  const Json adapter = facts("k", "", true);
  EXPECT_EQ(adapter["rank"], 3);
  EXPECT_EQ(adapter["stored_rank"], 6);
  const Json& values = adapter["layers"][0]["singular_values"];
  ASSERT_EQ(values.size(), 6U);
  EXPECT_GT(values[0].get<double>(), 1);
  EXPECT_LT(values[1].get<double>(), 1e-5);  // B moved by a matrix of rank one
}

TEST_F(Inspect, VllmGetsTheNextRankItKnowsOrAReason) {
  write("a", lora(4));
  EXPECT_EQ(facts("a")["vllm"]["flags"],
            "--enable-lora --max-lora-rank 8 --lora-modules name=" + at("a").string());
  EXPECT_EQ(facts("a")["peft"]["loads"], true);
  adapter::Adapter mixed = lora(4);
  mixed.layers[kUp].a = random_tensor({2, 32}, 3);
  mixed.layers[kUp].b = at::zeros({48, 2});
  write("mixed", mixed);
  EXPECT_THAT(facts("mixed")["vllm"]["reason"].get<std::string>(),
              StartsWith("vLLM ignores rank_pattern and alpha_pattern"));
  adapter::Adapter dora = lora(4);
  dora.method = "dora";
  for (auto& [module, layer] : dora.layers) layer.magnitude = at::ones({layer.b.size(0)});
  write("dora", dora);
  EXPECT_EQ(facts("dora")["vllm"]["reason"],
            "vLLM refuses DoRA; merge the adapter and serve the model");
}

TEST_F(Inspect, TheGaugeIsOfEachKindOfLayerAndInAll) {
  write("a", lora(4));
  write_covariance("cov");
  const Json adapter = facts("a", "", false, "cov");
  const at::Tensor dw = 2 * at::mm(random_tensor({32, 4}, 2), random_tensor({4, 32}, 1));
  const at::Tensor size = at::arange(1, 33).to(at::kFloat);
  const double q = std::sqrt((dw.square() * size).sum().item<double>() / (32 * 33 / 2));
  EXPECT_NEAR(adapter["layers"][0]["forgetting"].get<double>(), q, 1e-5 * q);
  EXPECT_EQ(adapter["layers"][1]["forgetting"], 0.0);  // its B is zero
  const Json& gauge = adapter["forgetting"];
  EXPECT_EQ(gauge["changed_layers"], 2);
  EXPECT_EQ(gauge["of"], 3);
  EXPECT_NEAR(gauge["in_all"].get<double>(), q / std::sqrt(3), 1e-5 * q);
  ASSERT_EQ(gauge["kinds"].size(), 2U);
  EXPECT_EQ(gauge["kinds"][0]["kind"], "q_proj");
  EXPECT_EQ(gauge["kinds"][0]["changed"], 1);
  EXPECT_EQ(gauge["kinds"][0]["of"], 2);
  EXPECT_NEAR(gauge["kinds"][0]["forgetting"].get<double>(), q / std::sqrt(2), 1e-5 * q);
  EXPECT_EQ(gauge["kinds"][1]["forgetting"], 0.0);
  EXPECT_FALSE(facts("a").contains("forgetting"));
  core::Reporter silent;
  const std::string text = to_text(inspect_json(
      {.path = at("a").string(), .model = "", .covariance = at("cov").string()}, silent));
  EXPECT_THAT(text, HasSubstr("  kinds:\n    kind     changed  of  forgetting\n    q_proj   1"));
}

TEST_F(Inspect, TheGaugeOfADoraNeedsItsBase) {
  write_covariance("cov");
  adapter::Adapter dora = lora(4);
  dora.method = "dora";
  const io::Checkpoint base(at("base"));
  for (auto& [module, layer] : dora.layers) {
    // Twice the norm of the rows that B A leaves.
    layer.b.zero_();
    layer.magnitude = 2 * at::linalg_vector_norm(io::view_tensor(base, module + ".weight"), 2,
                                                 at::IntArrayRef{1});
  }
  write("dora", dora);
  EXPECT_EQ(error_of<core::ConfigError>([&] { facts("dora", "", false, "cov"); }),
            "how far a DoRA is from its base depends on the base's rows; name it with --model");
  const Json gauge = facts("dora", "base", false, "cov");
  const at::Tensor w = io::view_tensor(base, kUp + ".weight");  // dW = W, C a multiple of I
  EXPECT_NEAR(gauge["layers"][1]["forgetting"].get<double>(),
              std::sqrt((w.square().sum() / 32).item<double>()), 1e-5);
}

TEST_F(Inspect, TheGaugeOfATrainedModelIsOfItsDifferenceFromTheBase) {
  write_covariance("cov");
  EXPECT_EQ(error_of<core::ConfigError>([&] { facts("base", "", false, "cov"); }),
            "--covariance says how far a trained model is from its base; name the base with "
            "--model");
  EXPECT_EQ(facts("base", "base", false, "cov")["forgetting"]["in_all"], 0.0);
  corda::testing::write_tiny_model(at("trained"), {.vocab = 257, .seed = 2});
  const Json model = facts("trained", "base", false, "cov");
  EXPECT_EQ(model["forgetting"]["changed_layers"], 3);
  const at::Tensor dw = io::view_tensor(io::Checkpoint(at("trained")), kUp + ".weight").clone() -
                        io::view_tensor(io::Checkpoint(at("base")), kUp + ".weight").clone();
  double up = 0;
  for (const Json& layer : model["layers"])
    if (layer["module"] == kUp) up = layer["forgetting"].get<double>();
  EXPECT_NEAR(up, std::sqrt((dw.square().sum() / 32).item<double>()), 1e-5);
}

TEST_F(Inspect, AGaugeThatCannotBeReadIsRefusedInASentence) {
  write_covariance("cov");
  adapter::Adapter other = lora(4);
  other.layers["model.layers.1.mlp.gate_proj"] = other.layers[kUp];
  write("other", other);
  EXPECT_EQ(error_of<core::ConfigError>([&] { facts("other", "", false, "cov"); }),
            "the covariance '" + at("cov").string() +
                "' has no inputs of 'model.layers.1.mlp.gate_proj'; corda calibrate collects those "
                "of all layers of a model's blocks");
  other = lora(4);
  other.base_fingerprint = "another";
  write("elsewhere", other);
  EXPECT_THAT(error_of<core::ConfigError>([&] { facts("elsewhere", "", false, "cov"); }),
              HasSubstr("was collected on another model"));
  EXPECT_EQ(error_of<core::ConfigError>([&] { facts("cov", "", false, "cov"); }),
            "--covariance is for an adapter or a trained model; '" + at("cov").string() +
                "' is a covariance itself");
  fs::create_directories(at("run"));
  core::write_file_atomic(at("run/config.resolved.yaml"), "model: m\nmethod: lora\n");
  EXPECT_THAT(
      error_of<core::ConfigError>([&] { facts("run", "", false, "cov"); }),
      HasSubstr("has no result yet; with gauge.covariance its metrics.jsonl has the gauge"));
}

TEST_F(Inspect, ACovarianceSaysWhatItSawAndWhetherItFits) {
  const std::string fingerprint = io::Checkpoint(at("base")).fingerprint();
  io::CovarianceWriter writer(at("cov"), io::CovarianceStorage::kPacked);
  writer.add("model.layers.0.self_attn.input", {kQ}, 20, at::ones({32 * 33 / 2}));
  writer.finish({.model = fingerprint,
                 .model_name = "base",
                 .tokens = 20,
                 .samples = 2,
                 .activation_scaling = "none",
                 .settings = {},
                 .sites = {}});
  const Json covariance = facts("cov", "base");
  EXPECT_EQ(covariance["kind"], "covariance");
  EXPECT_EQ(covariance["tokens"], 20);
  EXPECT_EQ(covariance["bytes"], 32 * 33 / 2 * 4);
  EXPECT_EQ(covariance["centered"], false);
  EXPECT_EQ(covariance["sites_with_fewer_tokens_than_inputs"], 1);
  EXPECT_EQ(covariance["fit"]["fits"], true);
  corda::testing::write_tiny_model(at("wide"), {.vocab = 257, .hidden = 64});
  EXPECT_EQ(facts("cov", "wide")["fit"]["reason"],
            "the covariance of '" + kQ + "' is of 32 inputs, and the model's layer has 64");
}

TEST_F(Inspect, ARunSaysHowFarItCame) {
  fs::create_directories(at("run/checkpoints/step-10"));
  fs::create_directories(at("run/checkpoints/step-9"));
  fs::create_directories(at("run/checkpoints/step-11"));
  for (const char* step : {"step-9", "step-10"})
    core::write_file_atomic(at("run/checkpoints") / step / "state.json", "{}");
  core::write_file_atomic(at("run/config.resolved.yaml"), "model: m\nmethod: lora\n");
  core::write_file_atomic(at("run/metrics.jsonl"),
                          "{\"step\": 1, \"loss\": 3.5, \"tokens\": 10, \"eval_loss\": 4}\n"
                          "{\"step\": 2, \"loss\": 2.5, \"tokens\": 12}\n{\"step\": 3, \"lo");
  const Json unfinished = facts("run");
  EXPECT_EQ(unfinished["kind"], "run");
  EXPECT_EQ(unfinished["finished"], false);
  EXPECT_EQ(unfinished["steps"], 2);
  EXPECT_EQ(unfinished["loss"], 2.5);
  EXPECT_EQ(unfinished["eval_step"], 1);
  EXPECT_EQ(unfinished["tokens"], 22);
  EXPECT_EQ(unfinished["checkpoints"], Json::array({"step-9", "step-10"}));
  write("run/adapter", lora(4));
  const Json finished = facts("run", "base");
  EXPECT_EQ(finished["finished"], true);
  EXPECT_EQ(finished["result"]["fit"]["fits"], true);
}

// The last evaluation is then of another step than the result.
TEST_F(Inspect, ARunThatKeepsItsBestSaysWhichStepThatIs) {
  fs::create_directories(at("run"));
  core::write_file_atomic(
      at("run/metrics.jsonl"),
      "{\"step\": 1, \"loss\": 3.5, \"eval_loss\": 6}\n{\"step\": 2, \"loss\": 3, \"eval_loss\": "
      "5.25}\n{\"step\": 3, \"loss\": 2, \"eval_loss\": 5.25}\n"
      "{\"step\": 4, \"loss\": 1, \"eval_loss\": 31.5}\n");
  const auto run_with = [&](const std::string& settings) {
    core::write_file_atomic(at("run/config.resolved.yaml"), "model: m\nmethod: lora\n" + settings);
    return facts("run");
  };
  for (const char* settings : {"checkpoint: {best: true}\neval: {patience: 0}\n",
                               "checkpoint: {best: false}\neval: {patience: 2}\n"}) {
    const Json kept = run_with(settings);
    EXPECT_EQ(kept["best_step"], 2) << settings;
    EXPECT_EQ(kept["best_eval_loss"], 5.25) << settings;
    EXPECT_EQ(kept["eval_step"], 4) << settings;
    EXPECT_EQ(kept["eval_loss"], 31.5) << settings;
  }
  core::write_file_atomic(
      at("run/metrics.jsonl"),
      "{\"step\": 1, \"loss\": 3, \"eval_loss\": 0.5, \"eval_data\": \"aa\"}\n"
      "{\"step\": 2, \"loss\": 2, \"eval_loss\": 5.5, \"eval_data\": \"bb\"}\n"
      "{\"step\": 3, \"loss\": 1, \"eval_loss\": 31.5, \"eval_data\": \"bb\"}\n{\"step\": 4, \"l");
  const Json changed = run_with("checkpoint: {best: true}\n");
  EXPECT_EQ(changed["best_step"], 2);
  EXPECT_EQ(changed["best_eval_loss"], 5.5);
  const Json last = run_with("checkpoint: {best: false}\neval: {patience: 0}\n");
  EXPECT_FALSE(last.contains("best_step"));
  EXPECT_FALSE(last.contains("best_eval_loss"));
  EXPECT_EQ(last["eval_loss"], 31.5);
}

TEST_F(Inspect, OtherFoldersAreNamed) {
  const auto refusal = [&](const char* name) {
    return error_of<core::IoError>([&] { kind_of(at(name)); });
  };
  fs::create_directories(at("empty"));
  EXPECT_THAT(refusal("empty"), HasSubstr("is no model (config.json), adapter "));
  EXPECT_THAT(refusal("none"), HasSubstr("is not there; the directory of a model"));
  std::ofstream(at("file")) << "x";
  EXPECT_THAT(refusal("file"), HasSubstr("is a file; the directory of a model"));
  fs::create_directories(at("c.work"));
  std::ofstream(at("c.work") / "made-with") << "x";
  EXPECT_THAT(refusal("c.work"), HasSubstr("the finished part of a calibration"));
}

TEST(InspectText, IsALineAFactAndATableForLists) {
  EXPECT_EQ(
      to_text(
          R"({"kind":"model","tied_head":true,"parameters":1234567,"bytes":1500000000,)"
          R"("base":{"name":"b"},"layers":[{"module":"q","rank":8},{"module":"üp","rank":16}]})"),
      "kind: model\ntied head: yes\nparameters: 1 234 567\nbytes: 1.5 GB\nbase:\n  name: b\n"
      "layers:\n  module  rank\n  q       8\n  üp      16\n");
}

}  // namespace
}  // namespace corda::inspect
