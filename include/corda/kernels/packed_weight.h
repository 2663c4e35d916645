// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A frozen weight that is held in 4 or 8 bits and becomes a matrix when it is used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <variant>
#include <vector>

namespace corda::kernels {

// Codes of 4 bits, two a byte, the first in the high half, of the values in row-major order; blocks
// of `block` successive values have a factor: value = table[code] * absmax[block]. The last block
// may be short, and a block may reach from one row into the next (bitsandbytes' NF4 and FP4).
struct TableCodes {
  at::Tensor codes;   // u8 [ceil(rows * columns / 2)]
  at::Tensor table;   // fp32 [16]
  at::Tensor absmax;  // fp32 [blocks]; u8 [blocks] where `nested_table` is defined
  std::int64_t block = 64;
  // absmax = nested_table[absmax] * nested_absmax[block / nested_block] + nested_offset.
  at::Tensor nested_table = {};   // fp32 [256], or undefined
  at::Tensor nested_absmax = {};  // fp32 [ceil(blocks / nested_block)]
  std::int64_t nested_block = 256;
  float nested_offset = 0;
};

// Codes of 8 bits, scaled in tiles: value = code * scales[row / block_rows][column / block_columns]
// * factor. Tiles at the lower and right edge may be smaller.
struct TileCodes {
  at::Tensor codes;   // float8 e4m3 or int8, [rows, columns]
  at::Tensor scales;  // fp32 [ceil(rows / block_rows), ceil(columns / block_columns)]
  std::int64_t block_rows = 128;
  std::int64_t block_columns = 128;
  float factor = 1;
};

struct PackedWeight {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  // fp32, bf16 or fp16: what every value is rounded to, whatever type it is written in.
  at::ScalarType rounded_to = at::kFloat;
  std::variant<TableCodes, TileCodes> codes;

  // `copies`: also what is there already, so that it does not look at another's memory any more.
  PackedWeight to(at::Device device, bool copies = false) const;
  // All tensors that are defined, in a fixed order. They share memory with this weight.
  std::vector<at::Tensor> tensors() const;
  // How many bytes all tensors take together.
  std::int64_t bytes() const;
};

// Writes rows [first_row, first_row + n) to out [n, columns], fp32 or bf16 with contiguous rows at
// any stride, on the device of the codes: fp32 products, rounded to `rounded_to` and then to the
// type of `out`. Does not synchronise. Throws InternalError
// where sizes do not fit.
void dequantise(const at::Tensor& out, const PackedWeight& weight, std::int64_t first_row = 0);

}  // namespace corda::kernels
