// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Every verb that reads a model, on models that are quantised on disk.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "cli/job.h"
#include "corda/io/tensor.h"
#include "corda/quant/write_copy.h"

namespace corda {
namespace {

namespace fs = std::filesystem;
using core::Json;
using testing::run_corda;

// The tensors of a layer by what stands behind its name, and what its library makes of them.
struct Coded {
  std::map<std::string, at::Tensor> parts;
  at::Tensor values;
};

// Whole numbers of 4 bits, eight of dimension 0 in a word; `places` of its nibbles.
at::Tensor words(const at::Tensor& codes,
                 const std::vector<std::int64_t>& places = {0, 1, 2, 3, 4, 5, 6, 7}) {
  const at::Tensor shifts = at::tensor(places, at::kLong).view({1, 8, 1}) * 4;
  const at::Tensor eights = codes.to(at::kLong).reshape({-1, 8, codes.size(1)});
  return at::bitwise_left_shift(eights, shifts).sum(1).to(at::kInt).contiguous();
}

// weight ~ (codes - zeros) scales, each of the two for 32 inputs.
struct Grid {
  at::Tensor codes, zeros, scales;  // [out, in], [out, groups] and, in fp16, [out, groups]
  at::Tensor values;                // fp16
};

Grid four_bits(const at::Tensor& weight, bool symmetric) {
  const at::Tensor groups = weight.view({weight.size(0), -1, 32});
  const at::Tensor low = groups.amin(2).clamp_max(0), high = groups.amax(2).clamp_min(0);
  Grid grid;
  grid.scales =
      (symmetric ? groups.abs().amax(2) / 7.5 : (high - low) / 15).to(at::kHalf).clamp_min(1e-4);
  const at::Tensor scales = grid.scales.to(at::kFloat);
  grid.zeros = symmetric ? at::full_like(scales, 8) : (-low / scales).round().clamp(1, 15);
  const at::Tensor codes =
      (groups / scales.unsqueeze(2) + grid.zeros.unsqueeze(2)).round().clamp(0, 15);
  grid.values =
      ((codes - grid.zeros.unsqueeze(2)) * scales.unsqueeze(2)).view(weight.sizes()).to(at::kHalf);
  grid.codes = codes.view(weight.sizes());
  return grid;
}

Coded gptq(const at::Tensor& weight) {
  const Grid grid = four_bits(weight, /*symmetric=*/false);
  return {{{".qweight", words(grid.codes.t())},
           {".qzeros", words(grid.zeros - 1).t().contiguous()},
           {".scales", grid.scales.t().contiguous()},
           {".g_idx", at::arange(weight.size(1), at::kInt).div(32, "floor").to(at::kInt)}},
          grid.values};
}

Coded awq(const at::Tensor& weight) {
  const std::vector<std::int64_t> places = {0, 4, 1, 5, 2, 6, 3, 7};
  const Grid grid = four_bits(weight, /*symmetric=*/false);
  return {{{".qweight", words(grid.codes, places).t().contiguous()},
           {".qzeros", words(grid.zeros, places).t().contiguous()},
           {".scales", grid.scales.t().contiguous()}},
          grid.values};
}

Coded pack_quantized(const at::Tensor& weight) {
  const Grid grid = four_bits(weight, /*symmetric=*/true);
  return {{{".weight_packed", words(grid.codes.t()).t().contiguous()},
           {".weight_scale", grid.scales},
           {".weight_shape", at::tensor(weight.sizes(), at::kLong)}},
          grid.values};
}

Coded bitsandbytes_int8(const at::Tensor& weight) {
  const at::Tensor largest = weight.abs().amax(1);
  const at::Tensor scales = largest.unsqueeze(1) / 127;
  const at::Tensor codes = (weight / scales).round();
  return {{{".weight", codes.to(at::kChar)},
           {".SCB", largest},
           {".weight_format", at::zeros({}, at::kByte)}},
          (codes * scales).to(at::kBFloat16)};
}

Coded mistral_float8(const at::Tensor& weight) {
  const at::Tensor scale = weight.abs().amax() / 448;
  const at::Tensor codes = (weight / scale).to(at::kFloat8_e4m3fn);
  return {{{".weight", codes}, {".qscale_weight", scale}, {".qscale_act", at::ones({})}},
          (codes.to(at::kFloat) * scale).to(at::kBFloat16)};
}

const Json& compressed_tensors() {
  static const Json kWeights = {{"num_bits", 4},
                                {"type", "int"},
                                {"strategy", "group"},
                                {"group_size", 32},
                                {"symmetric", true}};
  static const Json kConfig = {
      {"quant_method", "compressed-tensors"},
      {"format", "pack-quantized"},
      {"config_groups", {{"group_0", {{"targets", {"Linear"}}, {"weights", kWeights}}}}}};
  return kConfig;
}

struct Case {
  std::string name;
  std::string method;                                 // quant_method of config.json
  std::vector<std::string> flags = {};                // of corda quantize, which makes the copy
  Coded (*code)(const at::Tensor& weight) = nullptr;  // else this does, with that configuration
  Json configuration = {};
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"Nf4", "bitsandbytes", {"--to", "nf4"}},
      {"Float8InTiles", "fp8", {"--to", "fp8", "--scales", "block"}},
      {"Float8InRows", "compressed-tensors", {"--to", "fp8", "--scales", "channel"}},
      {"MistralFloat8",
       "fp8",
       {},
       mistral_float8,
       {{"activation_scheme", "static"}, {"weight_block_size", nullptr}}},
      {"BitsandbytesInt8", "bitsandbytes", {}, bitsandbytes_int8, {{"load_in_8bit", true}}},
      {"Gptq", "gptq", {}, gptq, {{"bits", 4}, {"group_size", 32}, {"desc_act", false}}},
      {"Awq", "awq", {}, awq, {{"bits", 4}, {"group_size", 32}, {"version", "gemm"}}},
      {"PackQuantized", "compressed-tensors", {}, pack_quantized, compressed_tensors()},
  };
  return kCases;
}

class QuantisedModel : public testing::Job, public ::testing::WithParamInterface<std::size_t> {
 protected:
  const Case& format() const { return cases().at(GetParam()); }

  // The base with its layers in codes, "codes", and with what these mean, "values".
  void SetUp() override {
    Job::SetUp();
    // More than a tile of 128 x 128, and more than a group of 32.
    testing::write_tiny_model(
        base(),
        {.vocab = 257, .hidden = 32, .intermediate = 160, .layers = 2, .heads = 4, .kv_heads = 2});
    fs::copy(base(), at("values"));
    if (format().code == nullptr) {
      std::vector<std::string> quantize = {"quantize", "--model", base(), "--out", at("codes")};
      quantize.insert(quantize.end(), format().flags.begin(), format().flags.end());
      EXPECT_EQ(result_of(quantize).at("layers"), 14);
      const quant::ModelWeights codes{io::Checkpoint(at("codes"))};
      quant::write_dense(codes, at("values"), [](const std::string&) { return at::Tensor(); });
      return;
    }
    fs::copy(base(), at("codes"));
    std::vector<std::pair<std::string, at::Tensor>> codes, values;
    const io::Checkpoint files(base());
    int layers = 0;
    for (const std::string& name : files.names()) {
      const at::Tensor weight = io::view_tensor(files, name);
      if (!name.ends_with("_proj.weight")) {
        codes.emplace_back(name, weight);
        values.emplace_back(name, weight);
        continue;
      }
      ++layers;
      const Coded coded = format().code(weight);
      const std::string module = name.substr(0, name.size() - std::string(".weight").size());
      for (const auto& [suffix, tensor] : coded.parts) codes.emplace_back(module + suffix, tensor);
      values.emplace_back(name, coded.values);
    }
    ASSERT_EQ(layers, 14);
    io::save_tensors(path("codes/model.safetensors"), codes, {{"format", "pt"}});
    io::save_tensors(path("values/model.safetensors"), values, {{"format", "pt"}});
    Json config = core::read_json(path("codes/config.json"));
    config["quantization_config"] = format().configuration;
    config["quantization_config"]["quant_method"] = format().method;
    core::write_json(path("codes/config.json"), config);
  }

  double loss(const std::string& model, const std::string& adapter = "") const {
    std::vector<std::string> eval = {"eval",           "--model",   at(model), "--data",
                                     at("task.jsonl"), "--seq-len", "200"};
    if (!adapter.empty()) eval.insert(eval.end(), {"--adapter", at(adapter)});
    return result_of(eval).at("nll").get<double>();
  }
  std::string answer(const std::string& model) const {
    return result_of(
               {"generate", "--model", at(model), "--prompt", "What is", "--max-new-tokens", "6"})
        .at("answer");
  }
};

TEST_P(QuantisedModel, IsReadByEveryVerbAsItsDequantisedCopy) {
  const Json seen = result_of({"inspect", at("codes")});
  EXPECT_EQ(seen.at("reads"), true);
  EXPECT_EQ(seen.at("quantised"), format().method);
  const double before = loss("codes");
  EXPECT_NEAR(before, loss("values"), 1e-4);
  EXPECT_EQ(answer("codes"), answer("values"));

  result_of({"calibrate", "--model", at("codes"), "--data", at("task.jsonl"), "--samples", "8",
             "--seq-len", "64", "--out", at("cov")});
  EXPECT_EQ(result_of({"decompose", "--model", at("codes"), "--covariance", at("cov"), "--rank",
                       "4", "--out", at("start")})
                .at("layers"),
            14);
  write("t.yaml", train_config("method: corda\nadapter: " + at("start") + "\nout: " + at("run")));
  const Json trained = result_of({"train", "--config", at("t.yaml"), "--set",
                                  "model=" + at("codes"), "--set", "optim.max_steps=2"});
  EXPECT_EQ(trained.at("steps"), 2);
  const double after = loss("codes", "run/adapter");
  EXPECT_LT(after, before - 1e-3);

  const Json merged =
      result_of({"merge", "--model", at("codes"), "--adapter", at("run/adapter"), "--into",
                 "quantised-base", "--dtype", "fp32", "--verify", "--out", at("merged")});
  EXPECT_EQ(merged.at("merged"), 14);
  EXPECT_LT(merged.at("verify").at("relative_difference").get<double>(), 1e-4);
  EXPECT_NEAR(loss("merged"), after, 1e-4);
  EXPECT_EQ(result_of({"export", "--adapter", at("run/adapter"), "--model", at("codes"), "--format",
                       "gguf", "--out", at("adapter.gguf")})
                .at("layers"),
            14);
  EXPECT_EQ(result_of({"quantize", "--model", at("codes"), "--to", "nf4", "--out", at("again")})
                .at("layers"),
            14);
}

INSTANTIATE_TEST_SUITE_P(Formats, QuantisedModel, ::testing::Range(std::size_t{0}, cases().size()),
                         [](const auto& chosen) { return cases().at(chosen.param).name; });

}  // namespace
}  // namespace corda
