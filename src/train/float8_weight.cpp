// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/float8_weight.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "core/round_up.h"

namespace corda::train {

namespace {

// Kernels read the scales of a whole tile, of which the last may have fewer rows.
constexpr std::int64_t kTile = 256;

at::Tensor whole_tiles(std::int64_t rows, at::TensorOptions fp32) {
  return at::ones({core::round_up(rows, kTile)}, fp32);
}

at::Tensor scales_for(std::int64_t rows, at::TensorOptions fp32) {
  return whole_tiles(rows, fp32).narrow(0, 0, rows);
}

kernels::ScaledRows rows_of(const kernels::ScaledRows& all, std::int64_t first, std::int64_t n) {
  return {all.codes.narrow(0, first, n), all.scales.narrow(0, first, n)};
}

// So many elements of a weight are made at once that they are still in the GPU's cache, which holds
// 50 MB on compute capability 9.0, when they are quantised.
constexpr std::int64_t kElementsAtATime = std::int64_t{8} << 20;

// A multiple of kTile, so that every part but a layer's last is aligned alike.
std::int64_t rows_at_a_time(std::int64_t out, std::int64_t in) {
  return std::min(out, std::max(kTile, kElementsAtATime / in / kTile * kTile));
}

// So many elements of `memory`, which is made anew where it is too short.
at::Tensor grown(at::Tensor& memory, std::int64_t elements, at::TensorOptions options) {
  if (!memory.defined() || memory.numel() < elements) memory = at::empty({elements}, options);
  return memory.narrow(0, 0, elements);
}

at::Tensor grown_scales(at::Tensor& memory, std::int64_t rows, at::TensorOptions fp32) {
  if (!memory.defined() || memory.numel() < core::round_up(rows, kTile))
    memory = whole_tiles(rows, fp32);
  return memory.narrow(0, 0, rows);
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
  const at::Tensor codes =
      grown(codes_, core::round_up(tokens, kTile) * columns, on_device.dtype(at::kFloat8_e4m3fn));
  return {codes.narrow(0, 0, tokens * columns).view({tokens, columns}),
          grown_scales(scales_, tokens, on_device.dtype(at::kFloat))};
}

Float8Scratch::OnTheFly Float8Scratch::on_the_fly(std::int64_t out, std::int64_t in,
                                                  at::TensorOptions like) {
  const auto fp32 = like.dtype(at::kFloat);
  const auto float8 = like.dtype(at::kFloat8_e4m3fn);
  const std::int64_t some = rows_at_a_time(out, in);
  const at::Tensor codes = grown(weight_, out * in, float8);
  return {.weight = {codes.view({out, in}), grown_scales(weight_scales_, out, fp32)},
          .transposed = {codes.view({in, out}), grown_scales(ones_, in, fp32)},
          .part = grown(part_, some * in, like).view({some, in}),
          .part_codes = grown(part_codes_, some * in, float8).view({some, in})};
}

std::int64_t Float8Scratch::on_the_fly_bytes(std::int64_t out, std::int64_t in,
                                             std::int64_t element) {
  const std::int64_t scales = core::round_up(out, kTile) + core::round_up(in, kTile);
  return out * in + static_cast<std::int64_t>(sizeof(float)) * scales +
         rows_at_a_time(out, in) * in * (element + 1);
}

bool Float8Weight::is_on_the_fly(const std::vector<const model::Linear*>& linears) {
  return std::ranges::any_of(linears, [](const model::Linear* l) { return l->packed != nullptr; });
}

std::int64_t Float8Weight::bytes(std::int64_t out, std::int64_t in) {
  const std::int64_t scales = core::round_up(out, kTile) + core::round_up(in, kTile);
  return 2 * out * in + static_cast<std::int64_t>(sizeof(float)) * scales;
}

Float8Weight::Float8Weight(const std::vector<model::Linear*>& linears, Float8Scratch& scratch)
    : scratch_(scratch), linears_(linears), in_(linears.front()->weight.size(1)) {
  for (const model::Linear* linear : linears) out_ += linear->weight.size(0);
  if (is_on_the_fly({linears.begin(), linears.end()})) {
    on_the_fly();  // the memory is taken at once, so that a graph finds it where it was
  } else {
    hold();
  }
}

void Float8Weight::hold() {
  const auto on_device = at::TensorOptions().device(linears_.front()->device());
  const auto codes = on_device.dtype(at::kFloat8_e4m3fn);
  const auto fp32 = on_device.dtype(at::kFloat);
  weight_ = {at::empty({out_, in_}, codes), scales_for(out_, fp32)};
  std::int64_t row = 0;
  for (model::Linear* linear : linears_) {
    const std::int64_t n = linear->weight.size(0);
    const kernels::ScaledRows held = rows_of(weight_, row, n);
    kernels::quantise_rows(held, linear->weight);
    hold_in(*linear, held);
    row += n;
  }
  transposed_ = {.codes = {at::empty({in_, out_}, codes), scales_for(in_, fp32)},
                 .row_scales = weight_.scales};
  kernels::transpose_codes(transposed_.codes.codes, weight_.codes);
}

Float8Scratch::OnTheFly Float8Weight::on_the_fly() const {
  const model::Linear& first = *linears_.front();
  return scratch_.on_the_fly(out_, in_,
                             at::TensorOptions(first.device()).dtype(first.weight.dtype()));
}

template <typename Act>
void Float8Weight::for_rows(const at::Tensor& part, Act act) const {
  std::int64_t row = 0;
  for (const model::Linear* linear : linears_) {
    const std::int64_t rows = linear->weight.size(0);
    for (std::int64_t begin = 0; begin < rows; begin += part.size(0)) {
      const at::Tensor values = part.narrow(0, 0, std::min(part.size(0), rows - begin));
      model::write_weight(*linear, values, begin);
      act(row + begin, values);
    }
    row += rows;
  }
}

kernels::ScaledRows Float8Weight::quantised_now() const {
  const Float8Scratch::OnTheFly memory = on_the_fly();
  for_rows(memory.part, [&](std::int64_t row, const at::Tensor& values) {
    kernels::quantise_rows(rows_of(memory.weight, row, values.size(0)), values);
  });
  return memory.weight;
}

Float8Weight::Transposed Float8Weight::transposed_now() const {
  const Float8Scratch::OnTheFly memory = on_the_fly();
  const at::Tensor& scales = memory.weight.scales;
  for_rows(memory.part, [&](std::int64_t row, const at::Tensor& values) {
    const std::int64_t n = values.size(0);
    const at::Tensor codes = memory.part_codes.narrow(0, 0, n);
    kernels::quantise_rows({codes, scales.narrow(0, row, n)}, values);
    kernels::transpose_codes(memory.transposed.codes.narrow(1, row, n), codes);
  });
  return {.codes = memory.transposed, .row_scales = scales};
}

void Float8Weight::multiply(const at::Tensor& y, const at::Tensor& x, const at::Tensor& added,
                            double scale) const {
  const kernels::ScaledRows rows = scratch_.rows(x.size(0), x.size(1), x.device());
  kernels::quantise_rows(rows, x);
  kernels::gemm_float8(y, rows, weight_.codes.defined() ? weight_ : quantised_now(), added, scale);
}

void Float8Weight::multiply_back(const at::Tensor& dx, const at::Tensor& dy, double scale) const {
  const Transposed transposed = weight_.codes.defined() ? transposed_ : transposed_now();
  const kernels::ScaledRows rows = scratch_.rows(dy.size(0), dy.size(1), dy.device());
  kernels::quantise_rows(rows, dy, transposed.row_scales);
  kernels::gemm_float8(dx, rows, transposed.codes, {}, scale);
}

}  // namespace corda::train
