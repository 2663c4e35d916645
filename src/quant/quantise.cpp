// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/quant/quantise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "corda/core/error.h"
#include "corda/kernels/float8.h"

namespace corda::quant {

using kernels::PackedWeight;
using kernels::TableCodes;
using kernels::TileCodes;

namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

at::Tensor table_on(const std::vector<float>& values, const at::Tensor& like) {
  return at::tensor(values, at::kFloat).to(like.device());
}

// Puts the absmax of blocks into bytes.
void nest(TableCodes& codes, const at::Tensor& absmax) {
  const std::int64_t blocks = absmax.size(0);
  const std::int64_t outer = ceil_div(blocks, kNestedBlock);
  const at::Tensor offset = absmax.mean();
  const at::Tensor centred = absmax - offset;
  const at::Tensor padded =
      at::constant_pad_nd(centred, {0, outer * kNestedBlock - blocks}).view({outer, kNestedBlock});
  codes.nested_absmax = padded.abs().amax(1);
  const at::Tensor scale = codes.nested_absmax.clamp_min(1e-38F).unsqueeze(1);
  const std::vector<float> values = dynamic_values();
  std::vector<float> middles;
  for (std::size_t i = 0; i + 1 < values.size(); ++i)
    middles.push_back((values[i] + values[i + 1]) / 2);
  const at::Tensor found = at::bucketize(padded / scale, table_on(middles, absmax), true);
  codes.absmax = found.to(at::kByte).flatten().narrow(0, 0, blocks).contiguous();
  codes.nested_table = table_on(values, absmax);
  codes.nested_block = kNestedBlock;
  codes.nested_offset = offset.item<float>();
}

PackedWeight nf4_shapes(const at::Tensor& weight, bool nested) {
  const std::int64_t blocks = ceil_div(weight.numel(), kNf4Block);
  const auto fp32 = weight.options().dtype(at::kFloat);
  const auto bytes = weight.options().dtype(at::kByte);
  TableCodes codes{.codes = at::empty({ceil_div(weight.numel(), 2)}, bytes),
                   .table = at::empty({16}, fp32),
                   .absmax = at::empty({blocks}, nested ? bytes : fp32),
                   .block = kNf4Block};
  if (nested) {
    codes.nested_table = at::empty({256}, fp32);
    codes.nested_absmax = at::empty({ceil_div(blocks, kNestedBlock)}, fp32);
  }
  return {.rows = weight.size(0),
          .columns = weight.size(1),
          .rounded_to = weight.scalar_type(),
          .codes = std::move(codes)};
}

// The smallest number of a type that has all its digits.
double smallest_normal(at::ScalarType type) {
  return type == at::kHalf ? 0x1p-14 : std::numeric_limits<float>::min();
}

// The scales for such largest values, in fp32, each a number of `type`. Below its smallest normal
// number a scale would lose digits or become zero; the codes, which are floating, need no smaller.
at::Tensor float8_scales(const at::Tensor& largest, at::ScalarType type) {
  // The divisor is a tensor: on a GPU, ATen divides by a plain number by multiplying with its
  // reciprocal, which rounds otherwise than the CPU does.
  const at::Tensor scales = largest / at::full_like(largest, kernels::kLargestFloat8);
  return at::where(largest == 0, at::ones_like(largest),
                   scales.clamp_min(smallest_normal(type)).to(type).to(at::kFloat));
}

bool is_of(const PackedWeight& packed, Base base) {
  if (base == Base::kAuto) return true;
  const auto* tiles = std::get_if<TileCodes>(&packed.codes);
  if (base == Base::kNf4) return tiles == nullptr;
  return tiles != nullptr && tiles->codes.scalar_type() == at::kFloat8_e4m3fn;
}

}  // namespace

const std::vector<std::string>& base_names() {
  static const std::vector<std::string> names = {"auto", "bf16", "nf4", "fp8"};
  return names;
}

Base base_named(const std::string& name) {
  const auto& names = base_names();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw core::InternalError(core::concat("[quant::base_named] no base is called '", name, "'"));
  return static_cast<Base>(found - names.begin());
}

const std::vector<float>& nf4_values() {
  static const std::vector<float> values = {-1.0F,
                                            -0.6961928009986877F,
                                            -0.5250730514526367F,
                                            -0.39491748809814453F,
                                            -0.28444138169288635F,
                                            -0.18477343022823334F,
                                            -0.09105003625154495F,
                                            0.0F,
                                            0.07958029955625534F,
                                            0.16093020141124725F,
                                            0.24611230194568634F,
                                            0.33791524171829224F,
                                            0.44070982933044434F,
                                            0.5626170039176941F,
                                            0.7229568362236023F,
                                            1.0F};
  return values;
}

const std::vector<float>& nf4_thresholds() {
  static const std::vector<float> thresholds = {
      -0.8480964004993439F,  -0.6106329262256622F,  -0.4599952697753906F,   -0.33967943489551544F,
      -0.23460740596055984F, -0.13791173323988914F, -0.045525018125772476F, 0.03979014977812767F,
      0.1202552504837513F,   0.2035212516784668F,   0.2920137718319893F,    0.3893125355243683F,
      0.5016634166240692F,   0.6427869200706482F,   0.8614784181118011F};
  return thresholds;
}

std::vector<float> dynamic_values() {
  std::vector<float> values = {0.0F, 1.0F};
  for (int i = 0; i < 7; ++i) {
    const int steps = 1 << i;
    const at::Tensor boundaries = at::linspace(0.1, 1, steps + 1, at::kFloat);
    const at::Tensor means =
        (boundaries.narrow(0, 0, steps) + boundaries.narrow(0, 1, steps)) / 2.0;
    const at::Tensor scaled = (means * std::pow(10.0, i - 6)).contiguous();
    for (int k = 0; k < steps; ++k) {
      values.push_back(scaled.const_data_ptr<float>()[k]);
      values.push_back(-scaled.const_data_ptr<float>()[k]);
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

PackedWeight quantise_nf4(const at::Tensor& weight, bool nested) {
  PackedWeight packed = nf4_shapes(weight, nested);
  if (weight.is_meta()) return packed;
  auto& codes = std::get<TableCodes>(packed.codes);
  const std::int64_t blocks = codes.absmax.size(0);
  const at::Tensor flat = weight.reshape({-1}).to(at::kFloat);
  const at::Tensor values =
      at::constant_pad_nd(flat, {0, blocks * kNf4Block - flat.numel()}).view({blocks, kNf4Block});
  const at::Tensor absmax = values.abs().amax(1);
  // In a block of zeros every value becomes the code of zero.
  const at::Tensor inverse = at::where(absmax == 0, at::ones_like(absmax), absmax).reciprocal();
  const at::Tensor found = at::bucketize(values * inverse.unsqueeze(1),
                                         table_on(nf4_thresholds(), weight), /*out_int32=*/true);
  const at::Tensor pairs = found.view({-1, 2}).to(at::kByte);
  codes.codes = (pairs.select(1, 0).mul(16) + pairs.select(1, 1))
                    .narrow(0, 0, codes.codes.numel())
                    .contiguous();
  codes.table = table_on(nf4_values(), weight);
  codes.absmax = absmax;
  if (nested) nest(codes, absmax);
  return packed;
}

PackedWeight quantise_float8(const at::Tensor& weight, Scales scales) {
  const bool channel = scales == Scales::kChannel;
  const std::int64_t rows = weight.size(0);
  const std::int64_t columns = weight.size(1);
  const std::int64_t tall = channel ? 1 : kTile;
  const std::int64_t wide = channel ? columns : kTile;
  const std::int64_t down = ceil_div(rows, tall);
  const std::int64_t across = ceil_div(columns, wide);
  PackedWeight packed{
      .rows = rows,
      .columns = columns,
      .rounded_to = weight.scalar_type(),
      .codes = TileCodes{.codes = {}, .scales = {}, .block_rows = tall, .block_columns = wide}};
  auto& codes = std::get<TileCodes>(packed.codes);
  if (weight.is_meta()) {
    codes.codes = at::empty(weight.sizes(), weight.options().dtype(at::kFloat8_e4m3fn));
    codes.scales = at::empty({down, across}, weight.options().dtype(at::kFloat));
    return packed;
  }
  const at::Tensor tiles = at::constant_pad_nd(weight.to(at::kFloat),
                                               {0, across * wide - columns, 0, down * tall - rows})
                               .view({down, tall, across, wide});
  codes.scales = float8_scales(tiles.abs().amax(at::IntArrayRef{1, 3}),
                               channel ? weight.scalar_type() : at::kFloat);
  codes.codes = (tiles / codes.scales.view({down, 1, across, 1}))
                    .view({down * tall, across * wide})
                    .narrow(0, 0, rows)
                    .narrow(1, 0, columns)
                    .to(at::kFloat8_e4m3fn)
                    .contiguous();
  return packed;
}

PackedWeight quantise(const at::Tensor& weight, Format format) {
  return format.base == Base::kNf4 ? quantise_nf4(weight) : quantise_float8(weight, format.scales);
}

at::Tensor dequantised(const PackedWeight& packed) {
  at::Tensor values =
      at::empty({packed.rows, packed.columns},
                at::TensorOptions().dtype(at::kFloat).device(packed.tensors()[0].device()));
  kernels::dequantise(values, packed);
  return values;
}

bool makes_codes(Base base) { return base == Base::kNf4 || base == Base::kFloat8; }

namespace {

// The codes of the layer in the files where a run keeps them, else nullopt. They look at the files.
std::optional<PackedWeight> held_codes(const ModelWeights& weights, const std::string& name,
                                       Base base) {
  if (base == Base::kDense) return std::nullopt;
  auto held = weights.packed(name);
  return held && is_of(*held, base) ? held : std::nullopt;
}

}  // namespace

std::optional<PackedWeight> packed_base(const ModelWeights& weights, const std::string& name,
                                        Base base, at::Device device, at::ScalarType type) {
  // The codes look at the mapped file, which they must not outlive.
  if (const auto held = held_codes(weights, name, base)) return held->to(device, /*copies=*/true);
  if (!makes_codes(base)) return std::nullopt;
  const at::Tensor dense = weights.load(name, device, type);
  return quantise(dense, {.base = base});
}

}  // namespace corda::quant
