// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/quantise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "corda/core/error.h"
#include "quant/formula_matrix.h"
#include "quant/golden_layers.h"
#include "support/temporary_directory.h"

namespace corda::quant {
namespace {

using kernels::PackedWeight;
using kernels::TableCodes;
using kernels::TileCodes;
using testing::formula_matrix;
using testing::golden_quant;
using testing::sha256_of;

at::Tensor values_of(const PackedWeight& packed) {
  at::Tensor values = at::empty({packed.rows, packed.columns}, at::kFloat);
  kernels::dequantise(values, packed);
  return values;
}

TEST(QuantiseNf4, NibblesAreThoseOfBitsandbytesAndNestedCodesWithinOne) {
  const io::SafetensorsFile golden(golden_quant() / "nf4.safetensors");
  const PackedWeight packed = quantise_nf4(formula_matrix(130, 128));
  const auto& codes = std::get<TableCodes>(packed.codes);
  EXPECT_TRUE(at::equal(codes.codes, io::view_tensor(golden, "P.weight").flatten()));
  const at::Tensor absmax = io::view_tensor(golden, "P.weight.absmax");
  ASSERT_EQ(absmax.sizes(), codes.absmax.sizes());
  const at::Tensor steps = (codes.absmax.to(at::kInt) - absmax.to(at::kInt)).abs();
  EXPECT_LE(steps.max().item<int>(), 1);
  EXPECT_LE(steps.sum().item<std::int64_t>(), 3);
  const at::Tensor outer = io::view_tensor(golden, "P.weight.nested_absmax");
  EXPECT_TRUE(at::allclose(codes.nested_absmax, outer, 1e-6, 0));
}

TEST(QuantiseNf4, TablesAreThoseOfBitsandbytes) {
  const auto golden = testing::golden_tensors("bnb-nf4-nested");
  const PackedWeight packed = quantise_nf4(formula_matrix(2, 64));
  const auto& codes = std::get<TableCodes>(packed.codes);
  EXPECT_TRUE(at::equal(codes.table, golden.at("P.weight.quant_map")));
  EXPECT_TRUE(at::equal(codes.nested_table, golden.at("P.weight.nested_quant_map")));
}

TEST(QuantiseNf4, WithItsAbsmaxDequantisesToTheValuesOfBitsandbytes) {
  const io::SafetensorsFile golden(golden_quant() / "nf4.safetensors");
  const auto manifest = core::read_json(golden_quant() / "manifest.json");
  PackedWeight packed = quantise_nf4(formula_matrix(130, 128));
  auto& codes = std::get<TableCodes>(packed.codes);
  const auto state = io::view_tensor(golden, "P.weight.quant_state.bitsandbytes__nf4");
  const std::string json(reinterpret_cast<const char*>(state.const_data_ptr()), state.nbytes());
  codes.absmax = io::view_tensor(golden, "P.weight.absmax");
  codes.nested_absmax = io::view_tensor(golden, "P.weight.nested_absmax");
  codes.nested_offset = core::parse_json(json, "quant_state")["nested_offset"].get<float>();
  EXPECT_EQ(sha256_of(values_of(packed).to(at::kBFloat16)),
            manifest["nf4_values"].get<std::string>());
}

TEST(QuantiseNf4, TakesTheNearestCodeOfEveryBlockAlsoOfARaggedLastOne) {
  const at::Tensor weight = formula_matrix(7, 61).to(at::kFloat);
  const PackedWeight packed = quantise_nf4(weight, /*nested=*/false);
  const at::Tensor flat = weight.flatten();
  const at::Tensor values = values_of(packed).flatten();
  const auto& table = nf4_values();
  for (std::int64_t begin = 0; begin < flat.numel(); begin += 64) {
    const at::Tensor block = flat.slice(0, begin, std::min<std::int64_t>(begin + 64, flat.numel()));
    const float absmax = block.abs().max().item<float>();
    for (std::int64_t i = 0; i < block.numel(); ++i) {
      const float value = block[i].item<float>();
      float nearest = 2;
      for (const float code : table) nearest = std::min(nearest, std::abs(code * absmax - value));
      // The thresholds are middles up to their last bits.
      EXPECT_NEAR(std::abs(values[begin + i].item<float>() - value), nearest, 1e-6F * absmax);
    }
  }
}

TEST(QuantiseFloat8, ScalesEveryTileToTheLargestCodeAndRoundsToNearest) {
  const at::Tensor weight = formula_matrix(130, 150).to(at::kFloat);
  const PackedWeight packed = quantise_float8(weight);
  const auto& codes = std::get<TileCodes>(packed.codes);
  EXPECT_EQ(codes.scales.sizes(), at::IntArrayRef({2, 2}));
  EXPECT_EQ(codes.scales[1][1].item<float>(),
            weight.slice(0, 128).slice(1, 128).abs().max().item<float>() / 448);
  const at::Tensor scale = codes.scales.repeat_interleave(128, 0).repeat_interleave(128, 1);
  const at::Tensor expected =
      (weight / scale.slice(0, 0, 130).slice(1, 0, 150)).to(at::kFloat8_e4m3fn);
  EXPECT_TRUE(at::equal(codes.codes.view(at::kByte), expected.view(at::kByte)));
  EXPECT_EQ(codes.codes.to(at::kFloat).abs().max().item<float>(), 448);
}

TEST(QuantiseFloat8, WithAScaleARowIsThatOfCompressedTensorsBitForBit) {
  const io::SafetensorsFile golden(golden_quant() / "float8.safetensors");
  const PackedWeight packed = quantise_float8(formula_matrix(24, 72), Scales::kChannel);
  const auto& codes = std::get<TileCodes>(packed.codes);
  const at::Tensor scales = io::view_tensor(golden, "P.weight_scale");
  EXPECT_EQ(scales.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(codes.scales, scales.to(at::kFloat)));
  EXPECT_TRUE(
      at::equal(codes.codes.view(at::kByte), io::view_tensor(golden, "P.weight").view(at::kByte)));
  const auto manifest = core::read_json(golden_quant() / "manifest.json");
  EXPECT_EQ(sha256_of(values_of(packed).to(at::kBFloat16)),
            manifest["float8_values"].get<std::string>());
}

// Largest values over 448 are no normal numbers here: of fp32 and bf16, and of fp16.
TEST(QuantiseFloat8, ValuesNearTheSmallestOfTheirTypeStayWithinACodesRounding) {
  for (const auto& [type, largest] :
       {std::pair{at::kFloat, 1e-37}, std::pair{at::kFloat, 1e-43}, std::pair{at::kBFloat16, 1e-37},
        std::pair{at::kHalf, 1e-3}, std::pair{at::kHalf, 1e-6}}) {
    for (const Scales scales : {Scales::kBlock, Scales::kChannel}) {
      SCOPED_TRACE(core::concat(largest, scales == Scales::kBlock ? " a tile" : " a row"));
      const at::Tensor weight =
          (formula_matrix(5, 130).to(at::kDouble) / 0.22 * largest).to(type).to(at::kFloat);
      const PackedWeight packed = quantise_float8(weight.to(type), scales);
      const at::Tensor wide = weight.to(at::kDouble);
      const at::Tensor error = (values_of(packed).to(at::kDouble) - wide).abs();
      const double scale = std::get<TileCodes>(packed.codes).scales.max().item<double>();
      // Half a step of e4m3 is 2^-4 of a value, or 2^-10 of its scale; then the type rounds.
      const double rounding = type == at::kHalf ? 0x1p-25 : 0x1p-134;
      const at::Tensor allowed = wide.abs() * 0x1.1p-4 + 0x1p-10 * scale + rounding;
      EXPECT_TRUE((error <= allowed).all().item<bool>());
    }
  }
}

TEST(Quantise, WhatIsRoundedToBFloat16IsTheSameInFp32AndInBFloat16) {
  for (const PackedWeight& packed :
       {quantise_nf4(formula_matrix(16, 64)), quantise_float8(formula_matrix(16, 64)),
        quantise_float8(formula_matrix(16, 64), Scales::kChannel)}) {
    const at::Tensor wide = values_of(packed);
    at::Tensor narrow = at::empty({16, 64}, at::kBFloat16);
    kernels::dequantise(narrow, packed);
    EXPECT_TRUE(at::equal(wide, narrow.to(at::kFloat)));
  }
}

TEST(Quantise, OnTheMetaDeviceHasTheShapesAndBytesOfTheReal) {
  const at::Tensor weight = formula_matrix(130, 150);
  const at::Tensor shape = weight.to(at::kMeta);
  EXPECT_EQ(quantise_nf4(shape).bytes(), quantise_nf4(weight).bytes());
  EXPECT_EQ(quantise_nf4(shape, false).bytes(), quantise_nf4(weight, false).bytes());
  for (const Scales scales : {Scales::kBlock, Scales::kChannel})
    EXPECT_EQ(quantise_float8(shape, scales).bytes(), quantise_float8(weight, scales).bytes());
}

TEST(PackedBase, KeepsCodesOfItsKindAndMakesThemOfAnyOther) {
  const auto layers = testing::golden_layers();
  const testing::TemporaryDirectory directory;
  const auto open = [&](const char* layer) {
    testing::write_layer(directory.path(), testing::golden_tensors(layer),
                         layers[layer]["quantization_config"]);
    return ModelWeights(io::Checkpoint(directory.path()));
  };
  const auto base = [](const ModelWeights& weights, Base kind) {
    return packed_base(weights, "P.weight", kind, at::kCPU, at::kBFloat16);
  };
  const ModelWeights nf4 = open("bnb-nf4-nested");
  EXPECT_FALSE(base(nf4, Base::kDense));
  EXPECT_TRUE(at::equal(values_of(*base(nf4, Base::kNf4)), nf4.view("P.weight").to(at::kFloat)));
  EXPECT_TRUE(at::equal(values_of(*base(nf4, Base::kAuto)), nf4.view("P.weight").to(at::kFloat)));
  EXPECT_TRUE(std::holds_alternative<TileCodes>(base(nf4, Base::kFloat8)->codes));
  const ModelWeights gptq = open("gptq-v1");
  EXPECT_FALSE(base(gptq, Base::kAuto));
  EXPECT_TRUE(std::holds_alternative<TableCodes>(base(gptq, Base::kNf4)->codes));
}

}  // namespace
}  // namespace corda::quant
