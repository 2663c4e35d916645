// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/rewrite_checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/io/tensor.h"

namespace corda::io {

using core::concat;

namespace {

// Weights in any spelling, and what belongs to an adapter, are not carried over.
bool is_weight_file(const std::string& name) {
  constexpr std::array kEndings = {".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json", ".pt", ".pth",
                                   ".gguf",        ".h5",                     ".msgpack", ".onnx"};
  const bool adapter = name == "adapter_config.json" || name == "corda.json";
  return adapter || std::any_of(kEndings.begin(), kEndings.end(), [&](const char* ending) { return name.ends_with(ending); });
}

void copy_other_files(const fs::path& from, const fs::path& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || is_weight_file(name)) continue;
    core::write_file_atomic(to / name, core::read_file(entry.path()));
  }
}

// Tensor names of a file in the order of their bytes.
std::vector<std::string> in_file_order(const SafetensorsFile& file) {
  std::vector<std::string> names;
  for (const auto& [name, info] : file.tensors()) names.push_back(name);
  std::stable_sort(names.begin(), names.end(),
                   [&](const auto& a, const auto& b) { return file.tensors().at(a).offset < file.tensors().at(b).offset; });
  return names;
}

void write_shard(const SafetensorsFile& file, const fs::path& path, const std::function<at::Tensor(const std::string&)>& content) {
  SafetensorsWriter writer(path, file.metadata());
  const auto names = in_file_order(file);
  for (const auto& name : names) writer.declare(name, file.tensors().at(name).dtype, file.tensors().at(name).shape);
  for (const auto& name : names) {
    const TensorInfo& info = file.tensors().at(name);
    const at::Tensor value = content(name);
    if (!value.defined()) {
      writer.write(name, file.data(name));
      continue;
    }
    if (value.sizes().vec() != info.shape) {
      throw core::ShapeError(concat("[io::rewrite_checkpoint] '", name, "' must be ", shape_string(info.shape), ", its new value is ",
                                    shape_string(value.sizes().vec())));
    }
    writer.write(name, tensor_bytes(value.to(at::kCPU, to_scalar_type(info.dtype)).contiguous()));
  }
  writer.finish();
}

void check_written(const Checkpoint& base, const fs::path& out) {
  const Checkpoint written(out);
  for (const auto& name : base.names()) {
    if (!written.contains(name) || written.info(name).shape != base.info(name).shape || written.info(name).dtype != base.info(name).dtype) {
      throw core::IoError(concat("'", out.string(), "': '", name, "' was not written as it should be; is the disk sound?"));
    }
  }
}

}  // namespace

void rewrite_checkpoint(const Checkpoint& base, const fs::path& out, const std::function<at::Tensor(const std::string&)>& content) {
  std::int64_t bytes = 0;
  for (const auto& file : base.files()) bytes = core::checked_add(bytes, static_cast<std::int64_t>(fs::file_size(file->path())), "model");
  core::require_disk_space(out, bytes);
  copy_other_files(base.directory(), out);
  for (const auto& file : base.files()) write_shard(*file, out / file->path().filename(), content);
  if (!base.index_name().empty()) core::write_file_atomic(out / base.index_name(), core::read_file(base.directory() / base.index_name()));
  check_written(base, out);
}

}  // namespace corda::io
