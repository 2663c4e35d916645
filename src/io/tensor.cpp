// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/tensor.h"

#include <ATen/ATen.h>

#include <array>
#include <cstring>

#include "corda/core/error.h"

namespace corda::io {

using core::concat;

namespace {

struct Pair {
  DType dtype;
  at::ScalarType type;
};
constexpr std::array<Pair, 12> kTypes = {{{DType::kF64, at::kDouble},
                                          {DType::kF32, at::kFloat},
                                          {DType::kF16, at::kHalf},
                                          {DType::kBF16, at::kBFloat16},
                                          {DType::kI64, at::kLong},
                                          {DType::kI32, at::kInt},
                                          {DType::kI16, at::kShort},
                                          {DType::kI8, at::kChar},
                                          {DType::kU8, at::kByte},
                                          {DType::kBool, at::kBool},
                                          {DType::kF8E4M3, at::kFloat8_e4m3fn},
                                          {DType::kF8E5M2, at::kFloat8_e5m2}}};

at::Tensor view_bytes(std::span<const std::byte> data, const TensorInfo& info) {
  const auto options = at::TensorOptions().dtype(to_scalar_type(info.dtype));
  if (data.empty()) return at::empty(info.shape, options);
  const auto address = reinterpret_cast<std::uintptr_t>(data.data());
  if (address % static_cast<std::uintptr_t>(size_of(info.dtype)) != 0) {
    // The format allows any alignment; a misaligned tensor is copied once.
    at::Tensor copy = at::empty(info.shape, options);
    std::memcpy(copy.data_ptr(), data.data(), data.size());
    return copy;
  }
  return at::from_blob(const_cast<std::byte*>(data.data()), info.shape, options);
}

}  // namespace

at::ScalarType to_scalar_type(DType dtype) {
  for (const auto& pair : kTypes) {
    if (pair.dtype == dtype) return pair.type;
  }
  throw core::InternalError("[io::to_scalar_type] a dtype is missing from the table");
}

DType to_dtype(at::ScalarType type) {
  for (const auto& pair : kTypes) {
    if (pair.type == type) return pair.dtype;
  }
  throw core::FormatError(concat("safetensors has no type for ", at::toString(type)));
}

at::Tensor stored(const std::string& name, const at::Tensor& value, DType dtype) {
  const at::Tensor host = value.cpu();
  const at::Tensor result = host.to(to_scalar_type(dtype)).contiguous();
  if (!is_floating(dtype) || result.scalar_type() == host.scalar_type()) return result;
  const at::Tensor lost = at::logical_and(host.isfinite(), at::logical_not(result.isfinite()));
  if (!lost.any().item<bool>()) return result;
  const double largest = host.masked_select(lost).abs().max().item<double>();
  throw core::NumericalError(
      concat("'", name, "' holds ", largest, ", too large for ", to_string(dtype),
             dtype == DType::kF16 ? ", which ends at 65504; write the model as bf16 or fp32"
                                  : "; write the model as fp32"));
}

at::Tensor view_tensor(const SafetensorsFile& file, const std::string& name) {
  const auto data = file.data(name);
  return view_bytes(data, file.tensors().at(name));
}

at::Tensor view_tensor(const Checkpoint& checkpoint, const std::string& name) {
  return view_tensor(checkpoint.file_of(name), checkpoint.stored_name(name));
}

std::span<const std::byte> tensor_bytes(const at::Tensor& tensor) {
  if (!tensor.is_contiguous() || !tensor.device().is_cpu()) {
    throw core::InternalError("[io::tensor_bytes] the tensor must be contiguous and on the CPU");
  }
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

void save_tensors(const fs::path& path,
                  const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer(path, metadata);
  for (const auto& [name, tensor] : tensors)
    writer.declare(name, to_dtype(tensor.scalar_type()), tensor.sizes().vec());
  core::require_disk_space(path, writer.data_bytes());
  for (const auto& [name, tensor] : tensors)
    writer.write(name, tensor_bytes(tensor.cpu().contiguous()));
  writer.finish();
}

}  // namespace corda::io
