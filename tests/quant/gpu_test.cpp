// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The kernels that make matrices of codes, and quantising on the device, against the CPU bit for
// bit: the products are single, so no sum can come in another order.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "corda/quant/quantise.h"
#include "quant/formula_matrix.h"
#include "quant/golden_layers.h"
#include "support/temporary_directory.h"

namespace corda::quant {
namespace {

using kernels::PackedWeight;
using testing::formula_matrix;

class Gpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (at::getNumGPUs() == 0) GTEST_SKIP() << "this machine has no usable GPU";
  }
};

// Compares in windows with and without aligned rows, of all rows and of some.
void expect_same(const PackedWeight& packed) {
  const PackedWeight moved = packed.to(at::kCUDA);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const std::int64_t padding : {0, 8, 3}) {
      for (const std::int64_t first : {std::int64_t{0}, packed.rows / 3}) {
        const std::int64_t count = packed.rows - first;
        const at::Tensor expected = at::zeros({count, packed.columns + padding}, type);
        const at::Tensor actual = at::zeros({count, packed.columns + padding},
                                            at::TensorOptions().dtype(type).device(at::kCUDA));
        kernels::dequantise(expected.narrow(1, 0, packed.columns), packed, first);
        kernels::dequantise(actual.narrow(1, 0, packed.columns), moved, first);
        EXPECT_TRUE(at::equal(actual.cpu(), expected))
            << type << " padding " << padding << " first row " << first;
      }
    }
  }
}

TEST_F(Gpu, MakesTheValuesOfGoldenLayersBitForBit) {
  const auto layers = testing::golden_layers();
  const testing::TemporaryDirectory directory;
  int compared = 0;
  for (const auto& [name, expected] : layers.items()) {
    SCOPED_TRACE(name);
    testing::write_layer(directory.path(), testing::golden_tensors(name),
                         expected["quantization_config"]);
    const ModelWeights weights(io::Checkpoint(directory.path()));
    if (const auto packed = weights.packed("P.weight")) {
      expect_same(*packed);
      ++compared;
    }
  }
  EXPECT_EQ(compared, 14);
}

TEST_F(Gpu, MakesTheValuesOfAnyShapeBitForBit) {
  for (const auto& [rows, columns] : {std::pair<std::int64_t, std::int64_t>{1, 64},
                                      {7, 61},
                                      {130, 128},
                                      {300, 4096},
                                      {4096, 264}}) {
    SCOPED_TRACE(rows);
    for (const at::ScalarType type : {at::kBFloat16, at::kHalf, at::kFloat}) {
      const at::Tensor weight = formula_matrix(rows, columns).to(type);
      expect_same(quantise_nf4(weight));
      expect_same(quantise_nf4(weight, /*nested=*/false));
      expect_same(quantise_float8(weight));
    }
  }
}

TEST_F(Gpu, QuantisesToTheCodesOfTheCpu) {
  for (const auto& [rows, columns] :
       {std::pair<std::int64_t, std::int64_t>{130, 128}, {7, 61}, {515, 1000}}) {
    const at::Tensor weight = formula_matrix(rows, columns);
    const auto cpu = std::get<kernels::TableCodes>(quantise_nf4(weight).codes);
    const auto gpu = std::get<kernels::TableCodes>(quantise_nf4(weight.cuda()).codes);
    EXPECT_TRUE(at::equal(gpu.codes.cpu(), cpu.codes));
    // The offset is a mean, whose last bit depends on the order of summing.
    const at::Tensor steps = (gpu.absmax.cpu().to(at::kInt) - cpu.absmax.to(at::kInt)).abs();
    EXPECT_LE(steps.max().item<int>(), 1);
    const auto tiles = std::get<kernels::TileCodes>(quantise_float8(weight).codes);
    const auto on_gpu = std::get<kernels::TileCodes>(quantise_float8(weight.cuda()).codes);
    EXPECT_TRUE(at::equal(on_gpu.codes.cpu().view(at::kByte), tiles.codes.view(at::kByte)));
    EXPECT_TRUE(at::equal(on_gpu.scales.cpu(), tiles.scales));
  }
}

}  // namespace
}  // namespace corda::quant
