// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// GPTQ and AWQ: both have `qweight`, `qzeros` and `scales`, packed along the input and the output.
#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/io/tensor.h"
#include "quant/bit_stream.h"
#include "quant/layer.h"

namespace corda::quant {

using core::concat;
using core::Json;
using io::DType;

namespace {

const std::vector<DType> kScaleTypes = {DType::kF16, DType::kBF16, DType::kF32};

// The values of codes [in, n] with zeros and scales [groups, n], as rows of outputs [n, in].
at::Tensor values_of(const at::Tensor& codes, const at::Tensor& zeros, const at::Tensor& scales,
                     const at::Tensor& group, DType dtype) {
  const at::Tensor centred = codes - zeros.index_select(0, group);
  const at::Tensor values = centred.to(at::kFloat) * scales.index_select(0, group);
  return values.t().to(io::to_scalar_type(dtype)).to(at::kFloat).contiguous();
}

// A word of the configuration, which must be one of those.
void check_word(const LayerFiles& files, const char* key, const std::vector<std::string>& known,
                const char* method) {
  const Json value = files.config().settings.value(key, Json());
  if (value.is_null()) return;
  const std::string word = value.is_string() ? value.get<std::string>() : value.dump();
  if (std::find(known.begin(), known.end(), word) != known.end()) return;
  files.fail(concat("is of ", method, "'s ", key, " '", word, "', which is not read"));
}

void check_bits(const LayerFiles& files, std::int64_t bits) {
  const Json said = files.config().settings.value("bits", Json());
  if (said.is_null() || said == bits) return;
  files.fail(concat("has codes of ", bits, " bits, but 'quantization_config' says ",
                    said.dump().substr(0, 20)));
}

// Bits of a code from the packed rows and the inputs; 0: none that is read.
std::int64_t gptq_bits(std::int64_t words, std::int64_t inputs) {
  for (const std::int64_t bits : {2, 3, 4, 8}) {
    if (inputs * bits == words * 32) return bits;
  }
  return 0;
}

// The number of inputs, where no g_idx says it.
std::int64_t inputs_of(const LayerFiles& files, std::int64_t words) {
  const Json said = files.config().settings.value("bits", Json(4));
  const std::int64_t bits = said.is_number_integer() ? said.get<std::int64_t>() : 0;
  return bits > 0 ? words * 32 / bits : 0;
}

Layer read_gptq(LayerFiles& files) {
  check_word(files, "checkpoint_format", {"gptq", "gptq_v2"}, "GPTQ");
  const bool second = files.config().settings.value("checkpoint_format", Json()) == "gptq_v2";
  const at::Tensor packed = files.get(".qweight", {DType::kI32});
  if (packed.dim() != 2) files.fail("has codes that are no matrix");
  const at::Tensor stored = files.get(".scales", kScaleTypes);
  if (stored.dim() != 2 || stored.size(0) < 1) files.fail("has scales that are no matrix");
  const std::int64_t groups = stored.size(0);
  const std::int64_t outputs = packed.size(1);
  if (stored.size(1) != outputs)
    files.fail(concat("has scales for ", stored.size(1), " outputs and codes for ", outputs));
  at::Tensor group;
  if (files.has(".g_idx")) {
    group = files.get(".g_idx", {DType::kI32, DType::kI64}).to(at::kLong).flatten();
  } else {
    const std::int64_t n = inputs_of(files, packed.size(0));
    group = at::arange(n, at::kLong).floor_divide((n + groups - 1) / groups);
  }
  const std::int64_t inputs = group.numel();
  const std::int64_t bits = gptq_bits(packed.size(0), inputs);
  if (bits == 0)
    files.fail(concat("has ", packed.size(0), " words for ", inputs,
                      " inputs, which are not 2, 3, 4 or 8 bits each"));
  check_bits(files, bits);
  if (inputs > 0 &&
      (group.min().item<std::int64_t>() < 0 || group.max().item<std::int64_t>() >= groups))
    files.fail(concat("has a 'g_idx' outside its ", groups, " groups"));
  const at::Tensor zeros =
      unpack_stream(files.get(".qzeros", {DType::kI32}, {groups, words_for(outputs, bits)}).t(),
                    bits, outputs)
          .t() +
      (second ? 0 : 1);
  const at::Tensor scales = stored.to(at::kFloat);
  const DType dtype = type_of_values(stored, files.config());
  const auto values = [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t n = end - begin;
    return values_of(unpack_stream(packed.narrow(1, begin, n), bits, inputs),
                     zeros.narrow(1, begin, n), scales.narrow(1, begin, n), group, dtype);
  };
  return {.format = concat("gptq, ", bits, " bits"),
          .parts = files.parts(),
          .dtype = dtype,
          .shape = {outputs, inputs},
          .rows = values,
          .packed = nullptr};
}

// words [n, m] -> [n, 8 m]: output 8 c + i sits in a nibble of word c.
at::Tensor unpack_awq(const at::Tensor& words) {
  const at::Tensor shifts = at::tensor({0, 16, 4, 20, 8, 24, 12, 28}, at::kInt);
  return words.unsqueeze(2).bitwise_right_shift(shifts).bitwise_and_(15).flatten(1);
}

Layer read_awq(LayerFiles& files) {
  check_word(files, "version", {"gemm", "GEMM"}, "AWQ");
  check_bits(files, 4);
  const at::Tensor packed = files.get(".qweight", {DType::kI32});
  const at::Tensor stored = files.get(".scales", kScaleTypes);
  const std::int64_t inputs = packed.size(0);
  const std::int64_t outputs = 8 * packed.size(1);
  const std::int64_t groups = stored.size(0);
  if (groups < 1 || inputs % groups != 0)
    files.fail(concat("has ", groups, " groups for ", inputs, " inputs"));
  const at::Tensor packed_zeros = files.get(".qzeros", {DType::kI32}, {groups, packed.size(1)});
  const at::Tensor scales = stored.to(at::kFloat);
  const at::Tensor group = at::arange(inputs, at::kLong).floor_divide(inputs / groups);
  const DType dtype = type_of_values(stored, files.config());
  const auto values = [=](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin / 8;
    const std::int64_t words = (end + 7) / 8 - first;
    const auto cut = [&](const at::Tensor& tensor) {
      return unpack_awq(tensor.narrow(1, first, words)).narrow(1, begin - 8 * first, end - begin);
    };
    return values_of(cut(packed), cut(packed_zeros), scales.narrow(1, begin, end - begin), group,
                     dtype);
  };
  return {.format = "awq, 4 bits",
          .parts = files.parts(),
          .dtype = dtype,
          .shape = {outputs, inputs},
          .rows = values,
          .packed = nullptr};
}

}  // namespace

Layer read_gptq_or_awq(LayerFiles& files) {
  const auto& codes = files.info(".qweight").shape;
  const auto& scales = files.info(".scales").shape;
  const bool packs_outputs =
      codes.size() == 2 && scales.size() == 2 && codes[1] * 8 == scales[1] && !files.has(".g_idx");
  return packs_outputs ? read_awq(files) : read_gptq(files);
}

}  // namespace corda::quant
