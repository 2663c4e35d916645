// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/io/rewrite_checkpoint.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "corda/core/checked.h"
#include "corda/core/error.h"
#include "corda/core/settings.h"
#include "corda/core/text.h"
#include "corda/io/tensor.h"
#include "core/json.h"

namespace corda::io {

using core::concat;
using core::Json;

namespace {

using Content = std::function<at::Tensor(const std::string&)>;

struct Shard {
  std::string file;
  std::map<std::string, std::string> metadata;
  std::vector<RewrittenTensor> tensors;
};

// Whether a file may hold weights, in any format, or the state of a training.
bool may_hold_weights(const std::string& name) {
  constexpr std::array kEndings = {".safetensors", ".index.json", ".bin",     ".pt",
                                   ".pth",         ".ckpt",       ".gguf",    ".ggml",
                                   ".h5",          ".msgpack",    ".onnx",    ".onnx_data",
                                   ".onnx.data",   ".npz",        ".pdparams"};
  return name.find(".safetensors.index.") != std::string::npos ||
         std::any_of(kEndings.begin(), kEndings.end(),
                     [&](const char* ending) { return name.ends_with(ending); });
}

// Whether a file belongs to an adapter or describes how the base was made.
bool is_of_another(const std::string& name) {
  constexpr std::array kNames = {"adapter_config.json", "corda.json", core::kSettingsFile};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

// Whether a file says how weights are quantised, as config.json does.
bool describes_codes(const std::string& name) {
  constexpr std::array kNames = {"quantize_config.json", "quant_config.json",
                                 "hf_quant_config.json"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

void copy_whole(const fs::path& from, const fs::path& to) {
  core::write_file_atomic(to, core::read_file(from));
}

constexpr const char* kTemplates = "additional_chat_templates";

// The files that are written anew, and so not copied.
std::set<std::string> weight_files(const Checkpoint& base) {
  std::set<std::string> used;
  for (const auto& file : base.files()) used.insert(file->path().filename().string());
  used.insert(base.index_name());
  return used;
}

bool is_copied(const fs::directory_entry& entry, const std::set<std::string>& used) {
  const std::string name = entry.path().filename().string();
  return entry.is_regular_file() && !is_of_another(name) && !used.contains(name) &&
         !may_hold_weights(name);
}

void copy_other_files(const Checkpoint& base, const fs::path& to, const RewriteOptions& options) {
  const std::set<std::string> used = weight_files(base);
  for (const auto& entry : fs::directory_iterator(base.directory())) {
    const fs::path name = entry.path().filename();
    const bool is_old = options.quantization_config && describes_codes(name.string());
    if (is_copied(entry, used) && !is_old) copy_whole(entry.path(), to / name);
    if (!entry.is_directory() || name != kTemplates) continue;
    fs::create_directory(to / name);
    for (const auto& file : fs::directory_iterator(entry.path())) {
      if (file.is_regular_file()) copy_whole(file.path(), to / name / file.path().filename());
    }
  }
}

// config.json names the dtype of the weights, in which transformers loads them, and whether the
// head is the embedding.
void change_config(const fs::path& config, const RewriteOptions& options) {
  if (!fs::exists(config) ||
      (!options.dtype && !options.untie_head && !options.quantization_config))
    return;
  const Json before = core::read_json(config);
  Json root = before;
  for (const char* key : {"dtype", "torch_dtype"}) {
    if (!options.dtype || !root.contains(key)) continue;
    root[key] = *options.dtype == DType::kBF16  ? "bfloat16"
                : *options.dtype == DType::kF16 ? "float16"
                                                : "float32";
  }
  if (options.untie_head && root.contains("tie_word_embeddings"))
    root["tie_word_embeddings"] = false;
  if (options.quantization_config) {
    for (Json* object : {&root, root.contains("text_config") ? &root["text_config"] : &root}) {
      if (!object->is_object()) continue;
      for (const char* key : {"quantization_config", "compression_config"}) object->erase(key);
    }
    if (!options.quantization_config->empty())
      root["quantization_config"] =
          core::parse_json(*options.quantization_config, "quantization_config");
  }
  if (root != before) core::write_json(config, root);
}

// What becomes of the tensors of a file, in the order of their bytes.
std::vector<RewrittenTensor> in_file_order(const SafetensorsFile& file,
                                           const RewriteOptions& options) {
  std::vector<std::string> names;
  for (const auto& [name, info] : file.tensors()) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const auto& a, const auto& b) {
    return file.tensors().at(a).offset < file.tensors().at(b).offset;
  });
  std::vector<RewrittenTensor> tensors;
  for (const std::string& name : names) {
    const TensorInfo& info = file.tensors().at(name);
    if (options.layout) {
      for (RewrittenTensor& tensor : options.layout(name)) tensors.push_back(std::move(tensor));
    } else {
      const bool changes = options.dtype && is_floating(info.dtype);
      tensors.push_back({name, changes ? *options.dtype : info.dtype, info.shape});
    }
  }
  return tensors;
}

// Whether the base has this tensor, type and shape included.
bool is_in(const Checkpoint& base, const RewrittenTensor& tensor) {
  if (!base.contains(tensor.name) || base.stored_name(tensor.name) != tensor.name) return false;
  const TensorInfo& info = base.info(tensor.name);
  return info.dtype == tensor.dtype && info.shape == tensor.shape;
}

std::int64_t bytes_of(const RewrittenTensor& tensor) {
  std::int64_t bytes = size_of(tensor.dtype);
  for (const std::int64_t extent : tensor.shape)
    bytes = core::checked_mul(bytes, extent, tensor.name.c_str());
  return bytes;
}

std::string shard_name(std::size_t index, std::size_t count) {
  const auto padded = [](std::size_t value) {
    const std::string digits = std::to_string(value);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  return count == 1 ? "model.safetensors"
                    : concat("model-", padded(index + 1), "-of-", padded(count), ".safetensors");
}

std::vector<Shard> plan_shards(const Checkpoint& base, const RewriteOptions& options) {
  std::vector<Shard> kept;
  for (const auto& file : base.files()) {
    kept.push_back(
        {file->path().filename().string(), file->metadata(), in_file_order(*file, options)});
  }
  if (options.max_shard_bytes <= 0) return kept;
  std::vector<Shard> shards;
  std::int64_t filled = 0;
  for (const auto& shard : kept) {
    for (const auto& tensor : shard.tensors) {
      const std::int64_t bytes = bytes_of(tensor);
      if (shards.empty() || (filled > 0 && filled + bytes > options.max_shard_bytes)) {
        shards.push_back({"", shard.metadata, {}});
        filled = 0;
      }
      shards.back().tensors.push_back(tensor);
      filled += bytes;
    }
  }
  for (std::size_t i = 0; i < shards.size(); ++i) shards[i].file = shard_name(i, shards.size());
  return shards;
}

// Writes one shard and adds the names whose bytes were kept.
void write_shard(const Checkpoint& base, const Shard& shard, const fs::path& path,
                 const Content& content, std::set<std::string>& kept) {
  SafetensorsWriter writer(path, shard.metadata);
  for (const auto& tensor : shard.tensors) writer.declare(tensor.name, tensor.dtype, tensor.shape);
  for (const auto& tensor : shard.tensors) {
    at::Tensor value = content(tensor.name);
    if (!value.defined() && is_in(base, tensor)) {
      writer.write(tensor.name, base.data(tensor.name));
      base.forget(tensor.name);
      kept.insert(tensor.name);
      continue;
    }
    if (!value.defined()) value = view_tensor(base, tensor.name);
    if (value.sizes().vec() != tensor.shape) {
      throw core::ShapeError(concat("'", tensor.name, "' must be ", shape_string(tensor.shape),
                                    ", its new value is ", shape_string(value.sizes().vec())));
    }
    writer.write(tensor.name, tensor_bytes(stored(tensor.name, value, tensor.dtype)));
    if (base.contains(tensor.name)) base.forget(tensor.name);  // codes have tensors of their own
  }
  writer.finish();
}

void write_index(const Checkpoint& base, const std::vector<Shard>& shards, std::int64_t bytes,
                 const fs::path& out, bool same) {
  if (same) {
    if (!base.index_name().empty()) {
      core::write_file_atomic(out / base.index_name(),
                              core::read_file(base.directory() / base.index_name()));
    }
    return;
  }
  if (shards.size() == 1 && shards.front().file == "model.safetensors") return;
  Json map = Json::object();
  for (const auto& shard : shards) {
    for (const auto& tensor : shard.tensors) map[tensor.name] = shard.file;
  }
  core::write_json(out / "model.safetensors.index.json",
                   {{"metadata", {{"total_size", bytes}}}, {"weight_map", std::move(map)}});
}

void check_written(const Checkpoint& base, const std::vector<Shard>& shards, const fs::path& out,
                   const std::set<std::string>& kept) {
  const Checkpoint written(out);
  const auto fail = [&](const std::string& name, const char* what) {
    throw core::IoError(concat("'", out.string(), "': '", name, "' ", what,
                               " when it was read again; is the disk sound?"));
  };
  std::vector<std::string> names;
  for (const auto& shard : shards) {
    for (const auto& tensor : shard.tensors) names.push_back(tensor.name);
  }
  std::sort(names.begin(), names.end());
  if (written.names() != names) fail("model", "has other tensors");
  for (const auto& shard : shards) {
    for (const auto& tensor : shard.tensors) {
      const TensorInfo& info = written.info(tensor.name);
      if (info.shape != tensor.shape || info.dtype != tensor.dtype)
        fail(tensor.name, "has another shape or dtype");
      if (!kept.contains(tensor.name)) continue;
      const auto before = base.data(tensor.name);
      const auto after = written.data(tensor.name);
      if (before.size() != after.size() ||
          (!before.empty() && std::memcmp(before.data(), after.data(), before.size()) != 0)) {
        fail(tensor.name, "has other bytes than the base");
      }
      base.forget(tensor.name);
      written.forget(tensor.name);
    }
  }
}

}  // namespace

std::vector<std::string> left_behind(const Checkpoint& base) {
  const std::set<std::string> used = weight_files(base);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(base.directory())) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory()) {
      if (!name.starts_with('.') && name != kTemplates) names.insert(name + "/");
    } else if (entry.is_regular_file() && !used.contains(name) && may_hold_weights(name)) {
      names.insert(name);
    }
  }
  return {names.begin(), names.end()};
}

void note_left_behind(const Checkpoint& base, const std::string& which, core::Reporter& reporter) {
  const auto names = left_behind(base);
  if (names.empty()) return;
  reporter.info(
      concat("not copied, since the ", which, " weights are not in it: ", core::join(names, ", ")));
}

RewriteResult rewrite_checkpoint(const Checkpoint& base, const fs::path& out,
                                 const Content& content, const RewriteOptions& options) {
  const std::vector<Shard> shards = plan_shards(base, options);
  RewriteResult result;
  bool same = options.max_shard_bytes <= 0 && !options.layout;
  for (const auto& shard : shards) {
    for (const auto& tensor : shard.tensors) {
      result.bytes = core::checked_add(result.bytes, bytes_of(tensor), "model");
      same = same && is_in(base, tensor);
      ++result.tensors;
    }
  }
  result.shards = static_cast<std::int64_t>(shards.size());
  core::require_disk_space(out, result.bytes);
  copy_other_files(base, out, options);
  change_config(out / "config.json", options);
  std::set<std::string> kept;
  for (const auto& shard : shards) write_shard(base, shard, out / shard.file, content, kept);
  write_index(base, shards, result.bytes, out, same);
  check_written(base, shards, out, kept);
  return result;
}

}  // namespace corda::io
