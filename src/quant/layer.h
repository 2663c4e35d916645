// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// One quantised layer: the tensors it is made of, checked as they are asked for, and its values.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "corda/io/safetensors.h"
#include "corda/kernels/packed_weight.h"
#include "core/json.h"

namespace corda::quant {

// What a format makes of a layer's tensors.
struct Layer {
  std::string format;              // for messages: "bitsandbytes nf4"
  std::vector<std::string> parts;  // all of its tensors in the files; the first holds the codes
  io::DType dtype = io::DType::kBF16;
  std::vector<std::int64_t> shape;  // [out, in]
  // Rows [begin, end) in fp32, each value one of `dtype`. Called from several threads.
  std::function<at::Tensor(std::int64_t begin, std::int64_t end)> rows;
  std::shared_ptr<const kernels::PackedWeight> packed;  // null: no kernel knows the codes
};

// What config.json says of the quantisation.
struct QuantisationConfig {
  core::Json settings = core::Json::object();  // `quantization_config`
  io::DType dtype = io::DType::kBF16;  // of the model, where it has a type that holds values
};
// Throws FormatError.
QuantisationConfig read_config(const std::filesystem::path& directory);

// The tensors of one layer in the files. `module` is its name as they spell it.
class LayerFiles {
 public:
  LayerFiles(const io::Checkpoint& files, const QuantisationConfig& config, std::string module)
      : files_(files), config_(config), module_(std::move(module)) {}

  const QuantisationConfig& config() const { return config_; }
  const std::string& module() const { return module_; }
  bool has(const std::string& suffix) const { return files_.contains(module_ + suffix); }
  const io::TensorInfo& info(const std::string& suffix) const;
  // The tensor "P" + suffix, which becomes one of the parts. Throws FormatError where it is absent,
  // or of none of the types.
  at::Tensor get(const std::string& suffix, const std::vector<io::DType>& types);
  // The same; throws also where the tensor has another shape.
  at::Tensor get(const std::string& suffix, const std::vector<io::DType>& types,
                 const std::vector<std::int64_t>& shape);
  // A tensor that belongs to the layer and changes no value.
  void ignore(const std::string& suffix);
  // FormatError "'DIR': 'P' " + what.
  [[noreturn]] void fail(const std::string& what) const;
  const std::vector<std::string>& parts() const { return parts_; }

 private:
  const io::Checkpoint& files_;
  const QuantisationConfig& config_;
  std::string module_;
  std::vector<std::string> parts_;
};

// A layer of codes that a kernel knows.
Layer packed_layer(LayerFiles& files, std::string format, io::DType dtype,
                   kernels::PackedWeight weight);

// The type of values whose scales have a type: that of 16-bit scales, else the model's.
io::DType type_of_values(const at::Tensor& scales, const QuantisationConfig& config);

// The formats, one a function; each is given a layer that has the tensor by which it is known.
Layer read_bitsandbytes_4bit(LayerFiles& files);
Layer read_bitsandbytes_int8(LayerFiles& files);
Layer read_scaled(LayerFiles& files);  // float8 or int8 codes and scales under any of their names
Layer read_pack_quantized(LayerFiles& files);
Layer read_gptq_or_awq(LayerFiles& files);

}  // namespace corda::quant
