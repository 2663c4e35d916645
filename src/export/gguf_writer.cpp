// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "export/gguf_writer.h"

#include <ATen/ATen.h>

#include <bit>
#include <cstring>

#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda::exports {

static_assert(std::endian::native == std::endian::little, "a GGUF is little-endian");

namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint64_t kAlignment = 32;

enum class KeyType : std::uint32_t { kUint32 = 4, kFloat32 = 6, kString = 8 };

template <typename Value>
void put(std::string& bytes, Value value) {
  char raw[sizeof value];
  std::memcpy(raw, &value, sizeof value);
  bytes.append(raw, sizeof value);
}

void put_text(std::string& bytes, const std::string& text) {
  put(bytes, static_cast<std::uint64_t>(text.size()));
  bytes += text;
}

void put_key(std::string& bytes, const std::string& key, KeyType type) {
  put_text(bytes, key);
  put(bytes, static_cast<std::uint32_t>(type));
}

std::uint64_t aligned(std::uint64_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

// ggml's number of a type.
std::uint32_t type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return 0;
    case at::kHalf:
      return 1;
    case at::kBFloat16:
      return 30;
    default:
      throw core::InternalError("[exports::GgufWriter] a tensor is no fp32, fp16 or bf16");
  }
}

}  // namespace

void GgufWriter::add(const std::string& key, const std::string& value) {
  put_key(keys_, key, KeyType::kString);
  put_text(keys_, value);
  ++key_count_;
}

void GgufWriter::add(const std::string& key, std::uint32_t value) {
  put_key(keys_, key, KeyType::kUint32);
  put(keys_, value);
  ++key_count_;
}

void GgufWriter::add(const std::string& key, float value) {
  put_key(keys_, key, KeyType::kFloat32);
  put(keys_, value);
  ++key_count_;
}

void GgufWriter::add(const std::string& name, const at::Tensor& tensor) {
  if (!tensor.is_contiguous() || !tensor.device().is_cpu())
    throw core::InternalError("[exports::GgufWriter] tensors must be contiguous and on the CPU");
  tensors_.emplace_back(name, tensor);
}

void GgufWriter::write(const std::filesystem::path& path) const {
  std::string file = "GGUF";
  put(file, kVersion);
  put(file, static_cast<std::uint64_t>(tensors_.size()));
  put(file, key_count_);
  file += keys_;
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors_) {
    put_text(file, name);
    put(file, static_cast<std::uint32_t>(tensor.dim()));
    for (std::int64_t d = tensor.dim() - 1; d >= 0; --d)  // the dimension that runs fastest first
      put(file, static_cast<std::uint64_t>(tensor.size(d)));
    put(file, type_of(tensor));
    put(file, offset);
    offset += aligned(tensor.nbytes());
  }
  file.resize(aligned(file.size()), '\0');
  core::require_disk_space(path.has_parent_path() ? path.parent_path() : ".",
                           static_cast<std::int64_t>(file.size() + offset));
  file.reserve(file.size() + offset);
  for (const auto& [name, tensor] : tensors_) {
    file.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
    file.resize(aligned(file.size()), '\0');
  }
  core::write_file_atomic(path, file);
}

}  // namespace corda::exports
