// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// bitsandbytes: 4-bit codes of a table with a `quant_state`, and LLM.int8.
#include <ATen/ATen.h>

#include <cmath>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "quant/layer.h"

namespace corda::quant {

using core::concat;
using core::Json;
using io::DType;

namespace {

constexpr const char* kState = ".weight.quant_state.bitsandbytes__";
constexpr std::int64_t kMaxStateBytes = 100'000;
constexpr std::uint64_t kLargest = std::uint64_t{1} << 40;  // of a size

// What the JSON of a quant_state says.
struct State {
  std::int64_t block = 0;
  DType dtype = DType::kBF16;
  std::vector<std::int64_t> shape;
  bool nested = false;
  std::int64_t nested_block = 0;
  float nested_offset = 0;
};

std::int64_t positive(const LayerFiles& files, const Json& state, const char* key) {
  const auto found = state.find(key);
  const bool whole = found != state.end() && found->is_number_unsigned() &&
                     found->get<std::uint64_t>() > 0 && found->get<std::uint64_t>() < kLargest;
  if (!whole) {
    files.fail(concat("has a quant_state whose '", key, "' is ",
                      found == state.end() ? "absent" : found->dump().substr(0, 40),
                      "; it must be a positive whole number"));
  }
  return found->get<std::int64_t>();
}

DType dtype_of(const LayerFiles& files, const Json& state) {
  const Json word = state.value("dtype", Json());
  if (word == "bfloat16") return DType::kBF16;
  if (word == "float16") return DType::kF16;
  if (word == "float32") return DType::kF32;
  files.fail(concat("has a quant_state whose 'dtype' is ", word.dump().substr(0, 40),
                    "; it must be bfloat16, float16 or float32"));
}

State parse_state(const LayerFiles& files, const Json& json, const std::string& kind) {
  if (!json.is_object()) files.fail("has a quant_state that is no JSON object");
  if (json.value("quant_type", Json()) != kind) {
    files.fail(concat("has a quant_state of type ",
                      json.value("quant_type", Json()).dump().substr(0, 40),
                      ", but its tensor is named ", kind));
  }
  State state{
      .block = positive(files, json, "blocksize"), .dtype = dtype_of(files, json), .shape = {}};
  const Json shape = json.value("shape", Json());
  bool matrix = shape.is_array() && shape.size() == 2;
  for (std::size_t i = 0; matrix && i < 2; ++i) {
    matrix = shape[i].is_number_unsigned() && shape[i].get<std::uint64_t>() > 0 &&
             shape[i].get<std::uint64_t>() < kLargest;
    if (matrix) state.shape.push_back(shape[i].get<std::int64_t>());
  }
  if (!matrix) {
    files.fail(concat("has a quant_state whose 'shape' is ", shape.dump().substr(0, 80),
                      "; it must be [out, in]"));
  }
  state.nested = json.contains("nested_blocksize");
  if (!state.nested) return state;
  state.nested_block = positive(files, json, "nested_blocksize");
  const Json offset = json.value("nested_offset", Json());
  if (!offset.is_number() || !std::isfinite(offset.get<double>()))
    files.fail("has a quant_state without a finite 'nested_offset'");
  state.nested_offset = static_cast<float>(offset.get<double>());
  return state;
}

// Codes in another storage type are the same bytes, viewed.
at::Tensor bytes_of(const at::Tensor& tensor) {
  return tensor.contiguous().view({-1}).view(at::kByte);
}

}  // namespace

Layer read_bitsandbytes_4bit(LayerFiles& files) {
  const std::string kind = files.has(std::string(kState) + "nf4") ? "nf4" : "fp4";
  at::Tensor codes = files.get(
      ".weight", {DType::kU8, DType::kI8, DType::kBF16, DType::kF16, DType::kF32, DType::kF64});
  codes = bytes_of(codes);
  const at::Tensor text = files.get(kState + kind, {DType::kU8});
  if (text.numel() > kMaxStateBytes)
    files.fail(concat("has a quant_state of ", text.numel(), " bytes"));
  const at::Tensor dense = text.contiguous();
  const std::string_view json(reinterpret_cast<const char*>(dense.const_data_ptr<std::uint8_t>()),
                              static_cast<std::size_t>(dense.numel()));
  const State state = parse_state(
      files, core::parse_json(json, concat("the quant_state of '", files.module(), "'")), kind);
  const char* what = "a quantised layer";
  const std::int64_t count = core::checked_mul(state.shape[0], state.shape[1], what);
  const std::int64_t needed = count / 2 + count % 2;
  // A storage type of several bytes may leave some of its last element unused.
  if (codes.numel() < needed || codes.numel() >= needed + 8) {
    files.fail(concat("has ", codes.numel(), " bytes of codes, but its quant_state says ",
                      io::shape_string(state.shape), ", which needs ", needed));
  }
  const std::int64_t blocks = (count - 1) / state.block + 1;
  kernels::TableCodes packed{
      .codes = codes.narrow(0, 0, needed),
      .table = files.get(".weight.quant_map", {DType::kF32}, {16}),
      .absmax = files.get(".weight.absmax", {state.nested ? DType::kU8 : DType::kF32}, {blocks}),
      .block = state.block,
      .nested_table = {},
      .nested_absmax = {}};
  if (state.nested) {
    packed.nested_table = files.get(".weight.nested_quant_map", {DType::kF32}, {256});
    packed.nested_absmax =
        files.get(".weight.nested_absmax", {DType::kF32}, {(blocks - 1) / state.nested_block + 1});
    packed.nested_block = state.nested_block;
    packed.nested_offset = state.nested_offset;
  }
  return packed_layer(files, "bitsandbytes " + kind, state.dtype,
                      {.rows = state.shape[0], .columns = state.shape[1], .codes = packed});
}

Layer read_bitsandbytes_int8(LayerFiles& files) {
  const at::Tensor codes = files.get(".weight", {DType::kI8});
  if (codes.dim() != 2) files.fail("has int8 codes that are no matrix");
  const at::Tensor scales = files.get(".SCB", {DType::kF32}, {codes.size(0)});
  files.ignore(".weight_format");
  // The reciprocal that the library multiplies by.
  constexpr float kReciprocal = 7.874015718698502e-3F;
  return packed_layer(
      files, "bitsandbytes int8", files.config().dtype,
      {.rows = codes.size(0),
       .columns = codes.size(1),
       .codes = kernels::TileCodes{.codes = codes,
                                   .scales = scales.view({-1, 1}),
                                   .block_rows = 1,
                                   .block_columns = std::max<std::int64_t>(codes.size(1), 1),
                                   .factor = kReciprocal}});
}

}  // namespace corda::quant
