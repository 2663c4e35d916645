// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Weights in 4 or 8 bits: NF4 as bitsandbytes makes it, float8 in tiles as DeepSeek has it or with
// a scale a row as compressed-tensors does.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "corda/kernels/packed_weight.h"
#include "corda/quant/model_weights.h"

namespace corda::quant {

// How a run holds the linear layers of the blocks.
enum class Base {
  kAuto,    // in codes where the files hold codes that a kernel reads, else in 16 bits or fp32
  kDense,   // in 16 bits or fp32, whatever the files hold
  kNf4,     // in NF4, nested absmax
  kFloat8,  // in float8 e4m3: the files' codes, else codes with a scale a tile of 128 x 128
};
// "auto", "bf16", "nf4", "fp8"; `base_named` of another word is an InternalError.
const std::vector<std::string>& base_names();
Base base_named(const std::string& name);

// What a scale of float8 is for.
enum class Scales {
  kBlock,    // a tile of 128 x 128, in fp32
  kChannel,  // a row, in the weight's own type
};

// What a model is quantised to: kNf4 or kFloat8, whose scales NF4 has not.
struct Format {
  Base base = Base::kNf4;
  Scales scales = Scales::kBlock;
};

// A tile's side, and NF4's blocks.
constexpr std::int64_t kTile = 128;
constexpr std::int64_t kNf4Block = 64;
constexpr std::int64_t kNestedBlock = 256;

// The 16 values of NF4 (Dettmers et al. 2023), rising, and the 15 thresholds between them: a value
// above the threshold takes the higher code.
const std::vector<float>& nf4_values();
const std::vector<float>& nf4_thresholds();
// bitsandbytes' 256 values of a byte, rising, in which it keeps the absmax of blocks.
std::vector<float> dynamic_values();

// weight [out, in] in fp32, bf16 or fp16 on any device (of the meta device: shapes alone) -> its
// codes there. Its type becomes `rounded_to`. Codes of NF4 are bitsandbytes' bit for bit on a CPU,
// nested codes within one (its offset is a mean whose last bit depends on the order of summing).
kernels::PackedWeight quantise_nf4(const at::Tensor& weight, bool nested = true);
kernels::PackedWeight quantise_float8(const at::Tensor& weight, Scales scales = Scales::kBlock);
kernels::PackedWeight quantise(const at::Tensor& weight, Format format);
// The values of codes, fp32 [rows, columns] on their device.
at::Tensor dequantised(const kernels::PackedWeight& packed);

// Whether a run quantises what the files hold otherwise.
bool makes_codes(Base base);

// The codes as which a run holds the layer `name` on a device, nullopt where it is dense. A layer
// that the files hold in codes of this kind keeps them; any other is loaded as `type` and
// quantised.
std::optional<kernels::PackedWeight> packed_base(const ModelWeights& weights,
                                                 const std::string& name, Base base,
                                                 at::Device device, at::ScalarType type);

}  // namespace corda::quant
