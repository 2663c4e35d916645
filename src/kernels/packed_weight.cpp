// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/kernels/packed_weight.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/cuda/CUDAGuard.h>

#include <array>

#include "corda/core/error.h"
#include "kernels/tensors.h"

namespace corda::kernels {

namespace {

// The tensors of the codes, in a fixed order.
std::array<at::Tensor*, 5> tensors_of(TableCodes& codes) {
  return {&codes.codes, &codes.table, &codes.absmax, &codes.nested_table, &codes.nested_absmax};
}
std::array<at::Tensor*, 2> tensors_of(TileCodes& codes) { return {&codes.codes, &codes.scales}; }

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

void check(const at::Tensor& out, const PackedWeight& weight, const TableCodes& codes) {
  const std::int64_t blocks = ceil_div(weight.rows * weight.columns, codes.block);
  const bool nested = codes.nested_table.defined();
  const auto dense = [&](const char* what, const at::Tensor& tensor, std::int64_t n,
                         at::ScalarType type) {
    check_dense("dequantise", what, tensor, {n}, type, out);
  };
  dense("the codes", codes.codes, ceil_div(weight.rows * weight.columns, 2), at::kByte);
  dense("the table", codes.table, 16, at::kFloat);
  dense("absmax", codes.absmax, blocks, nested ? at::kByte : at::kFloat);
  if (!nested) return;
  dense("the nested table", codes.nested_table, 256, at::kFloat);
  dense("the nested absmax", codes.nested_absmax, ceil_div(blocks, codes.nested_block), at::kFloat);
}

void check(const at::Tensor& out, const PackedWeight& weight, const TileCodes& codes) {
  const at::ScalarType type = codes.codes.scalar_type();
  check_dense("dequantise", "the codes", codes.codes, {weight.rows, weight.columns},
              type == at::kChar ? at::kChar : at::kFloat8_e4m3fn, out);
  check_dense(
      "dequantise", "the scales", codes.scales,
      {ceil_div(weight.rows, codes.block_rows), ceil_div(weight.columns, codes.block_columns)},
      at::kFloat, out);
}

float rounded(float value, at::ScalarType type) {
  if (type == at::kBFloat16) return static_cast<float>(c10::BFloat16(value));
  if (type == at::kHalf) return static_cast<float>(c10::Half(value));
  return value;
}

// Computes the factor of one block.
float factor_of(const TableCodes& codes, std::int64_t block) {
  if (!codes.nested_table.defined()) return codes.absmax.const_data_ptr<float>()[block];
  const float scaled =
      codes.nested_table
          .const_data_ptr<float>()[codes.absmax.const_data_ptr<std::uint8_t>()[block]] *
      codes.nested_absmax.const_data_ptr<float>()[block / codes.nested_block];
  return scaled + codes.nested_offset;
}

void fill_row(float* to, const PackedWeight& weight, const TableCodes& codes, std::int64_t row) {
  const auto* packed = codes.codes.const_data_ptr<std::uint8_t>();
  const auto* table = codes.table.const_data_ptr<float>();
  const std::int64_t first = row * weight.columns;
  std::int64_t block = -1;
  float factor = 0;
  for (std::int64_t i = first; i < first + weight.columns; ++i) {
    if (const std::int64_t now = i / codes.block; now != block) {
      block = now;
      factor = factor_of(codes, block);
    }
    const int pair = packed[i / 2];
    to[i - first] = rounded(table[i % 2 == 0 ? pair >> 4 : pair & 15] * factor, weight.rounded_to);
  }
}

// The values of all codes of one byte.
std::array<float, 256> byte_values(at::ScalarType type) {
  std::array<float, 256> values = {};
  for (std::size_t code = 0; code < values.size(); ++code) {
    const auto byte = static_cast<std::uint8_t>(code);
    values[code] =
        type == at::kChar
            ? static_cast<float>(static_cast<std::int8_t>(byte))
            : static_cast<float>(c10::Float8_e4m3fn(byte, c10::Float8_e4m3fn::from_bits()));
  }
  return values;
}

void fill_row(float* to, const PackedWeight& weight, const TileCodes& codes, std::int64_t row) {
  static const std::array<float, 256> kFloats = byte_values(at::kFloat8_e4m3fn);
  static const std::array<float, 256> kIntegers = byte_values(at::kChar);
  const auto& values = codes.codes.scalar_type() == at::kChar ? kIntegers : kFloats;
  const auto* bytes =
      static_cast<const std::uint8_t*>(codes.codes.const_data_ptr()) + row * weight.columns;
  const auto* scales = codes.scales.const_data_ptr<float>() +
                       row / codes.block_rows * ceil_div(weight.columns, codes.block_columns);
  for (std::int64_t i = 0; i < weight.columns; ++i) {
    const float scaled = values[bytes[i]] * scales[i / codes.block_columns];
    to[i] = rounded(scaled * codes.factor, weight.rounded_to);
  }
}

void dequantise_on_host(const at::Tensor& out, const PackedWeight& weight, std::int64_t first_row) {
  std::visit(
      [&](const auto& codes) {
        at::parallel_for(0, out.size(0), 16, [&](std::int64_t begin, std::int64_t end) {
          std::vector<float> row(static_cast<std::size_t>(weight.columns));
          for (std::int64_t i = begin; i < end; ++i) {
            fill_row(row.data(), weight, codes, first_row + i);
            if (out.scalar_type() == at::kFloat) {
              std::copy(row.begin(), row.end(), out.mutable_data_ptr<float>() + i * out.stride(0));
            } else {
              std::copy(row.begin(), row.end(),
                        out.mutable_data_ptr<c10::BFloat16>() + i * out.stride(0));
            }
          }
        });
      },
      weight.codes);
}

cuda::Values values_of(at::ScalarType type) {
  if (type == at::kBFloat16) return cuda::Values::kBFloat16;
  return type == at::kHalf ? cuda::Values::kHalf : cuda::Values::kFloat;
}

cuda::Table device_codes(const TableCodes& codes) {
  const bool nested = codes.nested_table.defined();
  return {.codes = codes.codes.const_data_ptr<std::uint8_t>(),
          .table = codes.table.const_data_ptr<float>(),
          .absmax = nested ? nullptr : codes.absmax.const_data_ptr<float>(),
          .block = codes.block,
          .nested_codes = nested ? codes.absmax.const_data_ptr<std::uint8_t>() : nullptr,
          .nested_table = nested ? codes.nested_table.const_data_ptr<float>() : nullptr,
          .nested_absmax = nested ? codes.nested_absmax.const_data_ptr<float>() : nullptr,
          .nested_block = codes.nested_block,
          .nested_offset = codes.nested_offset};
}

cuda::Tiles device_codes(const TileCodes& codes) {
  return {.codes = codes.codes.const_data_ptr(),
          .integers = codes.codes.scalar_type() == at::kChar,
          .scales = codes.scales.const_data_ptr<float>(),
          .block_rows = codes.block_rows,
          .block_columns = codes.block_columns,
          .factor = codes.factor};
}

}  // namespace

PackedWeight PackedWeight::to(at::Device device, bool copies) const {
  PackedWeight moved = *this;
  std::visit(
      [&](auto& held) {
        for (at::Tensor* tensor : tensors_of(held)) {
          if (tensor->defined()) {
            *tensor = tensor->to(device, tensor->scalar_type(), /*non_blocking=*/false, copies);
          }
        }
      },
      moved.codes);
  return moved;
}

std::vector<at::Tensor> PackedWeight::tensors() const {
  PackedWeight copy = *this;
  std::vector<at::Tensor> defined;
  std::visit(
      [&](auto& held) {
        for (const at::Tensor* tensor : tensors_of(held))
          if (tensor->defined()) defined.push_back(*tensor);
      },
      copy.codes);
  return defined;
}

std::int64_t PackedWeight::bytes() const {
  std::int64_t sum = 0;
  for (const at::Tensor& tensor : tensors()) sum += static_cast<std::int64_t>(tensor.nbytes());
  return sum;
}

void dequantise(const at::Tensor& out, const PackedWeight& weight, std::int64_t first_row) {
  check_rows("dequantise", "the output", out, out.size(0), weight.columns, out);
  if (first_row < 0 || first_row + out.size(0) > weight.rows) {
    throw core::InternalError(core::concat("[kernels::dequantise] rows ", first_row, " to ",
                                           first_row + out.size(0), " of a weight with ",
                                           weight.rows));
  }
  std::visit([&](const auto& codes) { check(out, weight, codes); }, weight.codes);
  if (!out.is_cuda()) return dequantise_on_host(out, weight, first_row);
  const c10::cuda::CUDAGuard guard(out.device());
  const cuda::PackedRows rows{.first = first_row,
                              .count = out.size(0),
                              .columns = weight.columns,
                              .values = values_of(weight.rounded_to)};
  std::visit(
      [&](const auto& codes) {
        cuda::dequantise(type_of(out), rows_of(out), device_codes(codes), rows, stream_of(out));
      },
      weight.codes);
}

}  // namespace corda::kernels
