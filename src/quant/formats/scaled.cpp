// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Codes of one byte and a scale for the tensor, each row or each tile: DeepSeek's and Qwen's float8
// (`weight_scale_inv`), Mistral's (`qscale_weight`) and compressed-tensors' (`weight_scale`).
#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "corda/core/error.h"
#include "quant/layer.h"

namespace corda::quant {

using core::concat;
using core::Json;
using io::DType;

namespace {

constexpr std::array<const char*, 3> kScaleNames = {".weight_scale_inv", ".qscale_weight",
                                                    ".weight_scale"};

// The sides of a tile as the configuration has them; 0: it says nothing.
std::array<std::int64_t, 2> configured_tile(const Json& settings) {
  const auto pair = [](const Json& value) -> std::array<std::int64_t, 2> {
    const bool is_pair = value.is_array() && value.size() == 2 && value[0].is_number_integer() &&
                         value[1].is_number_integer();
    return is_pair ? std::array{value[0].get<std::int64_t>(), value[1].get<std::int64_t>()}
                   : std::array<std::int64_t, 2>{0, 0};
  };
  if (settings.contains("weight_block_size")) return pair(settings["weight_block_size"]);
  const auto groups = settings.find("config_groups");
  if (groups == settings.end() || !groups->is_object()) return {0, 0};
  for (const Json& group : *groups) {
    if (!group.is_object() || !group.contains("weights") || !group["weights"].is_object()) continue;
    const auto tile = pair(group["weights"].value("block_structure", Json()));
    if (tile[0] > 0) return tile;
  }
  return {0, 0};
}

// The side of tiles of which `tiles` cover `extent`.
std::int64_t side_of(const LayerFiles& files, std::int64_t extent, std::int64_t tiles,
                     std::int64_t configured) {
  constexpr std::int64_t kUsual = 128;
  if (tiles == 1) return std::max<std::int64_t>(extent, 1);
  if (tiles == extent) return 1;
  for (const std::int64_t side : {configured, kUsual}) {
    if (side > 0 && (extent + side - 1) / side == tiles) return side;
  }
  if (tiles > 0 && extent % tiles == 0) return extent / tiles;
  files.fail(
      concat("has ", tiles, " scales along a side of ", extent, ", which fits no size of tiles"));
}

// Scales as a grid [tiles down, tiles across].
at::Tensor grid_of(LayerFiles& files, const at::Tensor& scales) {
  if (scales.numel() == 1) return scales.reshape({1, 1});
  if (scales.dim() == 1) return scales.unsqueeze(1);
  if (scales.dim() == 2) return scales;
  files.fail(concat("has scales of the shape ", io::shape_string(scales.sizes().vec()),
                    "; they must be one, one a row or a grid"));
}

at::Tensor as_fp32(const at::Tensor& scales) {
  if (scales.scalar_type() != at::kByte) return scales.to(at::kFloat);
  return at::exp2(scales.to(at::kFloat) - 127);  // exponents
}

}  // namespace

Layer read_scaled(LayerFiles& files) {
  const at::Tensor codes = files.get(".weight", {DType::kF8E4M3, DType::kI8});
  if (codes.dim() != 2) files.fail("has codes that are no matrix");
  const char* name = *std::find_if(kScaleNames.begin(), kScaleNames.end(),
                                   [&](const char* suffix) { return files.has(suffix); });
  const at::Tensor stored = files.get(name, {DType::kF32, DType::kBF16, DType::kF16, DType::kU8});
  const at::Tensor scales = grid_of(files, as_fp32(stored)).contiguous();
  if (files.has(".weight_zero_point") &&
      files.get(".weight_zero_point", {DType::kI8, DType::kF8E4M3})
          .to(at::kFloat)
          .any()
          .item<bool>())
    files.fail("has zero points beside codes of a byte, which are not read");
  for (const char* suffix : {".activation_scale", ".input_scale", ".qscale_act", ".output_scale"})
    files.ignore(suffix);
  const auto configured = configured_tile(files.config().settings);
  const bool floats = codes.scalar_type() == at::kFloat8_e4m3fn;
  return packed_layer(
      files, floats ? "float8" : "int8", type_of_values(stored, files.config()),
      {.rows = codes.size(0),
       .columns = codes.size(1),
       .codes = kernels::TileCodes{
           .codes = codes,
           .scales = scales,
           .block_rows = side_of(files, codes.size(0), scales.size(0), configured[0]),
           .block_columns = side_of(files, codes.size(1), scales.size(1), configured[1])}});
}

}  // namespace corda::quant
