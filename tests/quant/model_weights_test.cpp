// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/model_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "quant/golden_layers.h"
#include "support/error_of.h"
#include "support/temporary_directory.h"

namespace corda::quant {
namespace {

using core::Json;
using ::testing::ElementsAre;
using testing::golden_layers;
using testing::golden_tensors;
using ::testing::HasSubstr;
using testing::sha256_of;
using testing::Tensors;
using testing::write_layer;

class GoldenLayers : public ::testing::Test {
 protected:
  ModelWeights open(const Tensors& tensors, const Json& config) const {
    write_layer(directory_.path(), tensors, config);
    return ModelWeights(io::Checkpoint(directory_.path()));
  }
  ModelWeights open(const std::string& layer) const {
    return open(golden_tensors(layer), layers_[layer]["quantization_config"]);
  }
  // The message of a layer of which something was changed.
  std::string error_of(const std::string& layer, const std::function<void(Tensors&)>& damage,
                       Json config = {}) const {
    Tensors tensors = golden_tensors(layer);
    damage(tensors);
    if (config.is_null()) config = layers_[layer]["quantization_config"];
    return testing::error_of<core::FormatError>([&] { open(tensors, config); });
  }

  const Json layers_ = golden_layers();
  testing::TemporaryDirectory directory_;
};

TEST_F(GoldenLayers, HaveTheValuesOfTheirLibraryBitForBit) {
  ASSERT_EQ(layers_.size(), 24U);
  for (const auto& [name, expected] : layers_.items()) {
    SCOPED_TRACE(name);
    const ModelWeights weights = open(name);
    EXPECT_THAT(weights.names(), ElementsAre("P.weight"));
    EXPECT_TRUE(weights.is_quantised("P.weight"));
    const at::Tensor values = weights.view("P.weight");
    EXPECT_EQ(values.sizes().vec(), expected["shape"].get<std::vector<std::int64_t>>());
    EXPECT_EQ(weights.info("P.weight").shape, values.sizes().vec());
    EXPECT_EQ(weights.info("P.weight").bytes, static_cast<std::int64_t>(values.nbytes()));
    const std::map<std::string, at::ScalarType> types = {
        {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}, {"float32", at::kFloat}};
    EXPECT_EQ(values.scalar_type(), types.at(expected["dtype"].get<std::string>()));
    const at::Tensor first =
        at::tensor(expected["first_row"].get<std::vector<float>>(), at::kFloat);
    EXPECT_TRUE(at::equal(values[0].to(at::kFloat), first)) << values[0] << first;
    EXPECT_EQ(sha256_of(values), expected["sha256"].get<std::string>());
  }
}

TEST_F(GoldenLayers, AreTheSameAtOnceInRowsAndAsCodes) {
  int packed_layers = 0;
  for (const auto& [name, expected] : layers_.items()) {
    SCOPED_TRACE(name);
    const ModelWeights weights = open(name);
    const at::Tensor values = weights.view("P.weight");
    const linalg::HostRows rows = weights.rows("P.weight");
    at::Tensor pieces = at::empty_like(values);
    const std::int64_t count = values.size(0);
    auto* to = static_cast<std::byte*>(pieces.mutable_data_ptr());
    const auto row_bytes = static_cast<std::int64_t>(values.nbytes()) / count;
    for (const auto& [begin, end] :
         {std::pair<std::int64_t, std::int64_t>{0, 5}, {5, 18}, {18, count}})
      rows.fill(begin, end, to + begin * row_bytes);
    EXPECT_TRUE(at::equal(pieces, values));
    EXPECT_TRUE(at::equal(weights.load("P.weight", at::kCPU, at::kFloat), values.to(at::kFloat)));
    if (const auto packed = weights.packed("P.weight")) {
      ++packed_layers;
      at::Tensor wide = at::zeros({count, values.size(1) + 8}, at::kBFloat16);
      kernels::dequantise(wide.narrow(1, 0, values.size(1)), *packed);
      EXPECT_TRUE(at::equal(wide.narrow(1, 0, values.size(1)), values.to(at::kBFloat16)));
      EXPECT_FALSE(wide.narrow(1, values.size(1), 8).any().item<bool>());
    }
  }
  EXPECT_EQ(packed_layers, 14);
}

TEST_F(GoldenLayers, StandBesideOrdinaryTensorsThatShowAsTheyAre) {
  Tensors tensors = golden_tensors("gptq-v1");
  tensors["P.bias"] = at::ones({48}, at::kHalf);
  tensors["Q.weight"] = at::ones({4, 4}, at::kBFloat16);
  tensors["P.k_scale"] = at::ones({1}, at::kFloat);
  const ModelWeights weights = open(tensors, layers_["gptq-v1"]["quantization_config"]);
  EXPECT_THAT(weights.names(), ElementsAre("P.bias", "P.weight", "Q.weight"));
  EXPECT_FALSE(weights.is_quantised("Q.weight"));
  EXPECT_TRUE(at::equal(weights.view("Q.weight"), tensors["Q.weight"]));
  EXPECT_FALSE(weights.contains("P.qweight"));
  EXPECT_EQ(weights.quantised_layers(), 1);
  EXPECT_EQ(weights.format(), "gptq, 4 bits");
}

TEST_F(GoldenLayers, AreFoundUnderEitherSpellingOfATextTower) {
  Tensors tensors;
  for (const auto& [name, tensor] : golden_tensors("fp8-block"))
    tensors["language_model.model." + name] = tensor;
  const ModelWeights weights = open(tensors, layers_["fp8-block"]["quantization_config"]);
  EXPECT_EQ(weights.stored_name("model.language_model.P.weight"), "language_model.model.P.weight");
  EXPECT_TRUE(weights.is_quantised("model.language_model.P.weight"));
  EXPECT_EQ(sha256_of(weights.view("model.language_model.P.weight")),
            layers_["fp8-block"]["sha256"].get<std::string>());
}

TEST_F(GoldenLayers, CodesWithoutTheirMeaningAreNoValues) {
  for (const at::ScalarType type : {at::kByte, at::kChar, at::kFloat8_e4m3fn}) {
    const ModelWeights weights = open({{"P.weight", at::ones({4, 4}).to(type)}}, Json::object());
    EXPECT_THAT(testing::error_of<core::FormatError>([&] { weights.view("P.weight"); }),
                HasSubstr("a quantised weight; give the model in bf16, fp16 or fp32"));
    EXPECT_THAT(testing::error_of<core::FormatError>([&] { weights.rows("P.weight"); }),
                HasSubstr("'P.weight' is "));
  }
}

at::Tensor text_tensor(const std::string& text) {
  return at::tensor(std::vector<std::uint8_t>(text.begin(), text.end()), at::kByte);
}

TEST_F(GoldenLayers, ThatAreDamagedAreRefusedInOneSentenceThatNamesTheTensor) {
  const auto drop = [](const std::string& name) {
    return [name](Tensors& tensors) { ASSERT_EQ(tensors.erase(name), 1U) << name; };
  };
  const auto put = [](const std::string& name, const at::Tensor& value) {
    return [name, value](Tensors& tensors) {
      ASSERT_TRUE(tensors.contains(name)) << name;
      tensors[name] = value;
    };
  };
  const auto state = [](const std::string& json) {
    return [json](Tensors& tensors) {
      tensors["P.weight.quant_state.bitsandbytes__nf4"] = text_tensor(json);
    };
  };
  const std::string nf4 = R"("quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16")";
  struct Case {
    const char* layer;
    std::function<void(Tensors&)> damage;
    const char* message;
  };
  const std::vector<Case> cases = {
      {"bnb-nf4-nested", drop("P.weight.absmax"), "has no tensor 'P.weight.absmax'"},
      {"bnb-nf4-nested", drop("P.weight"), "has no tensor 'P.weight'"},
      {"bnb-nf4-nested", drop("P.weight.nested_absmax"), "no tensor 'P.weight.nested_absmax'"},
      {"bnb-nf4-nested", put("P.weight.absmax", at::zeros({72}, at::kFloat)),
       "'P.weight.absmax' of type F32; it must be U8"},
      {"bnb-nf4-nested", put("P.weight.absmax", at::zeros({71}, at::kByte)),
       "'P.weight.absmax' of the shape [71]; its other tensors ask for [72]"},
      {"bnb-nf4-nested", put("P.weight.quant_map", at::zeros({15}, at::kFloat)), "ask for [16]"},
      {"bnb-nf4-nested", put("P.weight", at::zeros({2303, 1}, at::kByte)),
       "has 2303 bytes of codes, but its quant_state says [72, 64], which needs 2304"},
      {"bnb-nf4-nested", put("P.weight", at::zeros({72, 64}, at::kLong)), "of type I64"},
      {"bnb-nf4-nested", state("{"), "the quant_state of 'P'"},
      {"bnb-nf4-nested", state("[]"), "no JSON object"},
      {"bnb-nf4-nested",
       state(R"({"quant_type": "fp4", "blocksize": 64, "dtype": "bfloat16", "shape": [72, 64]})"),
       "quant_state of type \"fp4\", but its tensor is named nf4"},
      {"bnb-nf4-nested", state("{" + nf4 + R"(, "shape": [72, 65]})"), "which needs 2340"},
      {"bnb-nf4-nested", state("{" + nf4 + R"(, "shape": [4294967296, 4294967296]})"),
       "does not fit in 63 bits"},
      {"bnb-nf4-nested", state("{" + nf4 + R"(, "shape": [-72, -64]})"), "must be [out, in]"},
      {"bnb-nf4-nested", state("{" + nf4 + R"(, "shape": [72, 64]})"),
       "'P.weight.absmax' of type U8; it must be F32"},
      {"bnb-nf4-nested",
       state(R"({"quant_type": "nf4", "blocksize": 0, "dtype": "bfloat16", "shape": [72, 64]})"),
       "'blocksize' is 0; it must be a positive whole number"},
      {"bnb-nf4-nested",
       state(R"({"quant_type": "nf4", "blocksize": 64, "dtype": "int8", "shape": [72, 64]})"),
       "'dtype' is \"int8\""},
      {"bnb-nf4-nested", state("{" + nf4 + R"(, "shape": [72, 64], "nested_blocksize": 256})"),
       "'nested_offset'"},
      {"bnb-int8", put("P.SCB", at::zeros({41}, at::kFloat)), "ask for [40]"},
      {"bnb-int8", put("P.weight", at::zeros({40, 64}, at::kFloat)), "of type F32; it must be I8"},
      {"fp8-block", put("P.weight", at::zeros({64, 96}, at::kByte)), "of type U8"},
      {"fp8-block", put("P.weight_scale_inv", at::zeros({2, 5}, at::kFloat)),
       "5 scales along a side of 96, which fits no size of tiles"},
      {"fp8-block", put("P.weight_scale_inv", at::zeros({2, 3}, at::kLong)), "of type I64"},
      {"fp8-block", put("P.weight_scale_inv", at::zeros({1, 2, 3}, at::kFloat)), "[1, 2, 3]"},
      {"ct-pack-w4", drop("P.weight_scale"), "has no tensor 'P.weight_scale'"},
      {"ct-pack-w4", put("P.weight_shape", at::tensor({48, 65}, at::kLong)),
       "8 words a row for 65 values"},
      {"ct-pack-w4", put("P.weight_shape", at::tensor({47, 64}, at::kLong)), "says [47, 64]"},
      {"ct-pack-w4", put("P.weight_scale", at::zeros({47, 2}, at::kFloat)), "shape [47, 2]"},
      {"ct-pack-w4-zeros", put("P.weight_zero_point", at::zeros({5, 2}, at::kInt)), "[6, 2]"},
      {"ct-pack-w4", put("P.weight_packed", at::zeros({48, 32}, at::kByte)), "nvfp4"},
      {"gptq-v1", drop("P.qzeros"), "has no tensor 'P.qzeros'"},
      {"gptq-v1", drop("P.scales"), "has no tensor 'P.scales'"},
      {"gptq-v1", put("P.g_idx", at::full({64}, 2, at::kInt)), "'g_idx' outside its 2 groups"},
      {"gptq-v1", put("P.g_idx", at::zeros({63}, at::kInt)), "8 words for 63 inputs"},
      {"gptq-v1", put("P.qzeros", at::zeros({2, 7}, at::kInt)), "ask for [2, 6]"},
      {"gptq-v1", put("P.scales", at::zeros({2, 47}, at::kHalf)), "47 outputs and codes for 48"},
      {"awq", put("P.qzeros", at::zeros({1, 6}, at::kInt)), "ask for [2, 6]"},
      {"awq", put("P.scales", at::zeros({3, 48}, at::kHalf)), "3 groups for 64 inputs"},
  };
  for (const Case& item : cases) {
    const std::string message = error_of(item.layer, item.damage);
    EXPECT_THAT(message, HasSubstr(item.message)) << item.layer;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST_F(GoldenLayers, ThatContradictTheConfigurationOrAreOfAnUnknownKindAreRefusedByName) {
  const auto same = [](Tensors&) {};
  EXPECT_THAT(error_of("gptq-v1", same, {{"quant_method", "gptq"}, {"bits", 8}}),
              HasSubstr("codes of 4 bits, but 'quantization_config' says 8"));
  EXPECT_THAT(error_of("gptq-v1", same, {{"checkpoint_format", "marlin"}}),
              HasSubstr("GPTQ's checkpoint_format 'marlin', which is not read"));
  EXPECT_THAT(error_of("awq", same, {{"quant_method", "awq"}, {"version", "gemv"}}),
              HasSubstr("AWQ's version 'gemv', which is not read"));
  const auto with = [](const std::string& name) {
    return [name](Tensors& tensors) { tensors[name] = at::zeros({4}, at::kFloat); };
  };
  EXPECT_THAT(error_of("fp8-block", with("Q.weight_scale_2")), HasSubstr("NVFP4 of ModelOpt"));
  EXPECT_THAT(error_of("fp8-block", with("Q.trellis")), HasSubstr("EXL3, which are not read"));
}

}  // namespace
}  // namespace corda::quant
