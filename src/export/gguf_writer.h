// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The container of llama.cpp's files, version 3: keys, tensors, data at multiples of 32 bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace corda::exports {

class GgufWriter {
 public:
  void add(const std::string& key, const std::string& value);
  void add(const std::string& key, std::uint32_t value);
  void add(const std::string& key, float value);
  // Adds a tensor that is contiguous, on the CPU, and fp32, fp16 or bf16.
  void add(const std::string& name, const at::Tensor& tensor);

  // Writes it beside and renames. Throws ResourceError.
  void write(const std::filesystem::path& path) const;

 private:
  std::string keys_;
  std::uint64_t key_count_ = 0;
  std::vector<std::pair<std::string, at::Tensor>> tensors_;
};

}  // namespace corda::exports
