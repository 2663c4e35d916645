// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/float8_weight.h"

#include <ATen/ATen.h>

#include <memory>
#include <utility>

#include "core/round_up.h"

namespace corda::train {

namespace {

// Kernels read the scales of a whole tile, of which the last may have fewer rows.
constexpr std::int64_t kTile = 256;

at::Tensor scales_for(std::int64_t rows, at::TensorOptions fp32) {
  return at::ones({core::round_up(rows, kTile)}, fp32).narrow(0, 0, rows);
}

kernels::ScaledRows rows_of(const kernels::ScaledRows& all, std::int64_t first, std::int64_t n) {
  return {all.codes.narrow(0, first, n), all.scales.narrow(0, first, n)};
}

// The layer looks at these codes in place of what held its weight.
void hold_in(model::Linear& linear, const kernels::ScaledRows& rows) {
  model::PackedLinear packed;
  packed.codes = {.rows = rows.codes.size(0),
                  .columns = rows.codes.size(1),
                  .rounded_to = linear.weight.scalar_type(),
                  .codes = kernels::TileCodes{.codes = rows.codes,
                                              .scales = rows.scales.unsqueeze(1),
                                              .block_rows = 1,
                                              .block_columns = rows.codes.size(1)}};
  linear.weight = at::empty(linear.weight.sizes(), linear.weight.options().device(at::kMeta));
  linear.packed = std::make_shared<const model::PackedLinear>(std::move(packed));
}

}  // namespace

std::int64_t Float8Scratch::bytes(std::int64_t tokens, std::int64_t columns) {
  return core::round_up(tokens, kTile) * (columns + static_cast<std::int64_t>(sizeof(float)));
}

kernels::ScaledRows Float8Scratch::rows(std::int64_t tokens, std::int64_t columns,
                                        at::Device device) {
  const auto on_device = at::TensorOptions().device(device);
  const std::int64_t held = core::round_up(tokens, kTile);
  if (!codes_.defined() || codes_.numel() < held * columns)
    codes_ = at::empty({held * columns}, on_device.dtype(at::kFloat8_e4m3fn));
  if (!scales_.defined() || scales_.numel() < held)
    scales_ = at::ones({held}, on_device.dtype(at::kFloat));
  return {codes_.narrow(0, 0, tokens * columns).view({tokens, columns}),
          scales_.narrow(0, 0, tokens)};
}

std::int64_t Float8Weight::bytes(std::int64_t out, std::int64_t in) {
  const std::int64_t scales = core::round_up(out, kTile) + core::round_up(in, kTile);
  return 2 * out * in + static_cast<std::int64_t>(sizeof(float)) * scales;
}

Float8Weight::Float8Weight(const std::vector<model::Linear*>& linears, Float8Scratch& scratch)
    : scratch_(scratch) {
  std::int64_t out = 0;
  for (const model::Linear* linear : linears) out += linear->weight.size(0);
  const std::int64_t in = linears.front()->weight.size(1);
  const auto on_device = at::TensorOptions().device(linears.front()->device());
  const auto codes = on_device.dtype(at::kFloat8_e4m3fn);
  const auto fp32 = on_device.dtype(at::kFloat);
  weight_ = {at::empty({out, in}, codes), scales_for(out, fp32)};
  std::int64_t row = 0;
  for (model::Linear* linear : linears) {
    const std::int64_t n = linear->weight.size(0);
    const kernels::ScaledRows held = rows_of(weight_, row, n);
    kernels::quantise_rows(held, model::weight_of(*linear));
    hold_in(*linear, held);
    row += n;
  }
  turned_ = {at::empty({in, out}, codes), scales_for(in, fp32)};
  // Bytes are turned as they are.
  turned_.codes.view(at::kByte).copy_(weight_.codes.view(at::kByte).t());
}

void Float8Weight::multiply(const at::Tensor& y, const at::Tensor& x, const at::Tensor& added,
                            double scale) const {
  const kernels::ScaledRows rows = scratch_.rows(x.size(0), x.size(1), x.device());
  kernels::quantise_rows(rows, x);
  kernels::gemm_float8(y, rows, weight_, added, scale);
}

void Float8Weight::multiply_back(const at::Tensor& dx, const at::Tensor& dy, double scale) const {
  const kernels::ScaledRows rows = scratch_.rows(dy.size(0), dy.size(1), dy.device());
  kernels::quantise_rows(rows, dy, weight_.scales);
  kernels::gemm_float8(dx, rows, turned_, {}, scale);
}

}  // namespace corda::train
