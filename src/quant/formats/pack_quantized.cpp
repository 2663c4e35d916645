// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// compressed-tensors' pack-quantized: whole numbers of 1 to 8 bits in words along the input.
#include <ATen/ATen.h>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "quant/bit_stream.h"
#include "quant/layer.h"

namespace corda::quant {

using core::concat;
using io::DType;

namespace {

// The number of bits whose codes of `columns` fill so many words.
std::int64_t bits_of(const LayerFiles& files, std::int64_t words, std::int64_t columns) {
  for (std::int64_t bits = 1; bits <= 8; ++bits) {
    if (words_for(columns, bits) == words) return bits;
  }
  files.fail(concat("has ", words, " words a row for ", columns,
                    " values, which are no whole number of bits from 1 to 8 each"));
}

// Which scale a column has, int64 [in].
at::Tensor groups_of(LayerFiles& files, std::int64_t columns, std::int64_t groups) {
  const at::Tensor in_order =
      at::arange(columns, at::kLong).floor_divide((columns + groups - 1) / groups);
  if (!files.has(".weight_g_idx")) return in_order;
  const at::Tensor index =
      files.get(".weight_g_idx", {DType::kI32, DType::kI64}, {columns}).to(at::kLong);
  if (index.lt(0).any().item<bool>()) return in_order;  // it was never set
  if (index.ge(groups).any().item<bool>())
    files.fail(concat("has a 'weight_g_idx' beyond its ", groups, " groups"));
  return index;
}

}  // namespace

Layer read_pack_quantized(LayerFiles& files) {
  if (files.info(".weight_packed").dtype == DType::kU8)
    files.fail("has 4-bit floats (nvfp4 or mxfp4), which are not read; use the model in 16 bits");
  const at::Tensor packed = files.get(".weight_packed", {DType::kI32});
  const at::Tensor shape =
      files.get(".weight_shape", {DType::kI64, DType::kI32}, {2}).to(at::kLong).contiguous();
  const std::int64_t rows = shape.const_data_ptr<std::int64_t>()[0];
  const std::int64_t columns = shape.const_data_ptr<std::int64_t>()[1];
  if (packed.dim() != 2 || rows <= 0 || columns <= 0 || packed.size(0) != rows)
    files.fail(concat("has codes of the shape ", io::shape_string(packed.sizes().vec()),
                      ", but its 'weight_shape' says [", rows, ", ", columns, "]"));
  const std::int64_t bits = bits_of(files, packed.size(1), columns);
  const at::Tensor stored = files.get(".weight_scale", {DType::kF32, DType::kBF16, DType::kF16});
  const at::Tensor grid = stored.numel() == 1 ? stored.reshape({1, 1}).expand({rows, 1})
                          : stored.dim() == 1 ? stored.unsqueeze(1)
                                              : stored;
  if (grid.dim() != 2 || grid.size(0) != rows || grid.size(1) < 1 || grid.size(1) > columns)
    files.fail(concat("has scales of the shape ", io::shape_string(stored.sizes().vec()), " for [",
                      rows, ", ", columns, "]"));
  const at::Tensor scales = grid.to(at::kFloat);
  at::Tensor zeros;
  if (files.has(".weight_zero_point")) {
    zeros = unpack_stream(
        files.get(".weight_zero_point", {DType::kI32}, {words_for(rows, bits), scales.size(1)}),
        bits, rows);
  } else {
    zeros = at::full({rows, scales.size(1)}, std::int64_t{1} << (bits - 1), at::kInt);
  }
  const at::Tensor group = groups_of(files, columns, scales.size(1));
  const DType dtype = type_of_values(stored, files.config());
  const auto values = [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t n = end - begin;
    const at::Tensor codes = unpack_stream(packed.narrow(0, begin, n).t(), bits, columns).t();
    const at::Tensor centred = codes - zeros.narrow(0, begin, n).index_select(1, group);
    return (centred.to(at::kFloat) * scales.narrow(0, begin, n).index_select(1, group))
        .to(io::to_scalar_type(dtype))
        .to(at::kFloat)
        .contiguous();
  };
  for (const char* suffix : {".input_scale", ".input_global_scale"}) files.ignore(suffix);
  return {.format = concat("pack-quantized, ", bits, " bits"),
          .parts = files.parts(),
          .dtype = dtype,
          .shape = {rows, columns},
          .rows = values,
          .packed = nullptr};
}

}  // namespace corda::quant
