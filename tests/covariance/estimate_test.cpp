// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/covariance/estimate.h"

#include <gtest/gtest.h>

#include "corda/core/error.h"
#include "corda/model/config.h"

namespace corda::covariance {
namespace {

constexpr std::int64_t kCard = std::int64_t{79} << 30;

model::ModelDescription llama(int hidden, int intermediate, int layers, int heads, int kv_heads) {
  return model::parse_model_config(
      core::concat(R"({"model_type": "llama", "vocab_size": 32000, "rms_norm_eps": 1e-5, )",
                   R"("tie_word_embeddings": false, "hidden_size": )", hidden,
                   R"(, "intermediate_size": )", intermediate, R"(, "num_hidden_layers": )", layers,
                   R"(, "num_attention_heads": )", heads, R"(, "num_key_value_heads": )", kv_heads,
                   "}"),
      "config.json");
}

// Peaks measured on an H100 (docs/benchmarks.md): 256 x 2048 tokens.
TEST(EstimateStream, IsWhatWasMeasured) {
  const auto seven = llama(4096, 11008, 32, 32, 32);
  const auto gigabytes = [](const model::ModelDescription& model, bool decomposes) {
    return 1e-9 * static_cast<double>(
                      estimate_stream(model, {.decomposes = decomposes, .stored_rank = 256}, kCard)
                          .total_bytes);
  };
  EXPECT_NEAR(gigabytes(seven, false), 6.8, 0.68);
  EXPECT_NEAR(gigabytes(seven, true), 7.5, 0.75);
  EXPECT_NEAR(gigabytes(llama(5120, 13824, 40, 40, 40), true), 10.4, 1.04);
  EXPECT_NEAR(gigabytes(llama(8192, 28672, 80, 64, 8), true), 25.1, 2.51);
}

TEST(EstimateStream, TheDiskIsThatOfTheFormats) {
  const auto seven = llama(4096, 11008, 32, 32, 32);
  const std::int64_t triangles = 3 * (4096LL * 4097 / 2) + 11008LL * 11009 / 2;
  EXPECT_EQ(estimate_stream(seven, {}, kCard).disk_bytes, 32 * 4 * triangles);
  const std::int64_t sides = 4 * (4096 + 4096) + 3 * (4096 + 11008);
  EXPECT_EQ(estimate_stream(seven, {.decomposes = true, .stored_rank = 256}, kCard).disk_bytes,
            32LL * 4 * 256 * sides);
}

TEST(EstimateStream, WhatAQuarterOfTheCardDoesNotHoldGoesToTheHost) {
  const auto seven = llama(4096, 11008, 32, 32, 32);
  const std::int64_t activations = 256LL * 2048 * 4096 * 2;
  EXPECT_EQ(estimate_stream(seven, {}, kCard).host_bytes, 0);
  EXPECT_EQ(estimate_stream(seven, {}, 4 * activations - 1).host_bytes, activations);
  EXPECT_LT(estimate_stream(seven, {}, 4 * activations - 1).total_bytes,
            estimate_stream(seven, {}, 4 * activations).total_bytes);
}

}  // namespace
}  // namespace corda::covariance
