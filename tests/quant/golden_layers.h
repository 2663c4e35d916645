// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The quantised layers of tests/golden/quant, one a format, as model directories.
#pragma once

#include <ATen/ATen.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "corda/core/sha256.h"
#include "corda/io/tensor.h"
#include "core/json.h"

namespace corda::testing {

using Tensors = std::map<std::string, at::Tensor>;

inline std::filesystem::path golden_quant() {
  return std::filesystem::path(CORDA_SOURCE_DIR) / "tests/golden/quant";
}

// What layers.json says of every case.
inline core::Json golden_layers() { return core::read_json(golden_quant() / "layers.json"); }

// The tensors of a case, named "P.weight" and so on.
inline Tensors golden_tensors(const std::string& layer) {
  const io::SafetensorsFile file(golden_quant() / "layers.safetensors");
  Tensors tensors;
  for (const auto& [name, info] : file.tensors()) {
    if (name.starts_with(layer + ":"))
      tensors[name.substr(layer.size() + 1)] = io::view_tensor(file, name).clone();
  }
  return tensors;
}

// Writes the case as a model directory of one layer. `config` replaces its quantization_config.
inline void write_layer(const std::filesystem::path& directory, const Tensors& tensors,
                        const core::Json& quantization_config) {
  std::filesystem::create_directories(directory);
  io::save_tensors(directory / "model.safetensors", {tensors.begin(), tensors.end()});
  core::write_json(directory / "config.json", {{"quantization_config", quantization_config}});
}

inline std::string sha256_of(const at::Tensor& tensor) {
  core::Sha256 hash;
  const at::Tensor dense = tensor.contiguous();
  hash.update(io::tensor_bytes(dense));
  return hash.hex_digest();
}

}  // namespace corda::testing
