// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Between safetensors bytes and tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "corda/io/safetensors.h"

namespace corda::io {

at::ScalarType to_scalar_type(DType dtype);
// Throws FormatError for a type the format does not have.
DType to_dtype(at::ScalarType type);

// `value` on the CPU, contiguous, as a file holds it: rounded once to `dtype`. Throws
// NumericalError, naming the tensor, where a finite number is too large for the type (F16 ends at
// 65504) and would be written as an infinity.
at::Tensor stored(const std::string& name, const at::Tensor& value, DType dtype);

// A CPU tensor that looks at the mapped bytes without copying: read-only by contract, valid as long
// as the file is. Clone it, convert it or copy it to a device to keep it.
at::Tensor view_tensor(const SafetensorsFile& file, const std::string& name);
at::Tensor view_tensor(const Checkpoint& checkpoint, const std::string& name);

// Writes named tensors (any device, made contiguous) as one file, atomically.
void save_tensors(const fs::path& path,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                  const std::map<std::string, std::string>& metadata = {});

// The bytes of a contiguous CPU tensor.
std::span<const std::byte> tensor_bytes(const at::Tensor& tensor);

}  // namespace corda::io
