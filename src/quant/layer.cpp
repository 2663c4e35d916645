// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "quant/layer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"

namespace corda::quant {

using core::concat;

namespace {

std::string listed(const std::vector<io::DType>& types) {
  std::vector<std::string> words;
  for (const io::DType type : types) words.push_back(io::to_string(type));
  return core::join(words, " or ");
}

}  // namespace

void LayerFiles::fail(const std::string& what) const {
  throw core::FormatError(
      concat("'", files_.directory().string(), "': the quantised layer '", module_, "' ", what));
}

const io::TensorInfo& LayerFiles::info(const std::string& suffix) const {
  if (!has(suffix)) fail(concat("has no tensor '", module_, suffix, "'"));
  return files_.info(module_ + suffix);
}

at::Tensor LayerFiles::get(const std::string& suffix, const std::vector<io::DType>& types) {
  const io::TensorInfo& found = info(suffix);
  if (std::find(types.begin(), types.end(), found.dtype) == types.end()) {
    fail(concat("has '", module_, suffix, "' of type ", io::to_string(found.dtype), "; it must be ",
                listed(types)));
  }
  parts_.push_back(files_.stored_name(module_ + suffix));
  return io::view_tensor(files_, module_ + suffix);
}

at::Tensor LayerFiles::get(const std::string& suffix, const std::vector<io::DType>& types,
                           const std::vector<std::int64_t>& shape) {
  const at::Tensor tensor = get(suffix, types);
  if (tensor.sizes() == at::IntArrayRef(shape)) return tensor;
  fail(concat("has '", module_, suffix, "' of the shape ", io::shape_string(tensor.sizes().vec()),
              "; its other tensors ask for ", io::shape_string(shape)));
}

void LayerFiles::ignore(const std::string& suffix) {
  if (has(suffix)) parts_.push_back(files_.stored_name(module_ + suffix));
}

Layer packed_layer(LayerFiles& files, std::string format, io::DType dtype,
                   kernels::PackedWeight weight) {
  weight.rounded_to = io::to_scalar_type(dtype);
  const auto shared = std::make_shared<const kernels::PackedWeight>(std::move(weight));
  const auto rows = [shared](std::int64_t begin, std::int64_t end) {
    at::Tensor values = at::empty({end - begin, shared->columns}, at::kFloat);
    kernels::dequantise(values, *shared, begin);
    return values;
  };
  return {.format = std::move(format),
          .parts = files.parts(),
          .dtype = dtype,
          .shape = {shared->rows, shared->columns},
          .rows = rows,
          .packed = shared};
}

io::DType type_of_values(const at::Tensor& scales, const QuantisationConfig& config) {
  if (scales.scalar_type() == at::kHalf) return io::DType::kF16;
  return scales.scalar_type() == at::kBFloat16 ? io::DType::kBF16 : config.dtype;
}

QuantisationConfig read_config(const std::filesystem::path& directory) {
  QuantisationConfig result;
  const auto path = directory / "config.json";
  if (!std::filesystem::exists(path)) return result;
  const core::Json root = core::read_json(path);
  if (!root.is_object()) return result;
  const auto text = root.find("text_config");
  for (const core::Json* object : {&root, text == root.end() ? &root : &*text}) {
    if (!object->is_object()) continue;
    for (const char* key : {"torch_dtype", "dtype"}) {
      const auto found = object->find(key);
      if (found == object->end()) continue;
      if (*found == "float16") result.dtype = io::DType::kF16;
      if (*found == "float32") result.dtype = io::DType::kF32;
      if (*found == "bfloat16") result.dtype = io::DType::kBF16;
    }
    for (const char* key : {"quantization_config", "compression_config"}) {
      const auto found = object->find(key);
      if (found != object->end() && found->is_object()) result.settings = *found;
    }
  }
  return result;
}

}  // namespace corda::quant
