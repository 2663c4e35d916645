// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The safetensors format: reading a file that may be hostile, writing one in two phases.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "corda/core/file.h"
#include "corda/core/reporter.h"

namespace corda::io {

namespace fs = std::filesystem;

enum class DType { kF64, kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool, kF8E4M3, kF8E5M2 };

std::int64_t size_of(DType dtype);   // bytes of one element
bool is_floating(DType dtype);       // F64, F32, F16 or BF16
std::string to_string(DType dtype);  // as the format spells it: "F32", "BF16"...

struct TensorInfo {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::int64_t offset = 0;  // of its first byte, from the start of the data section
  std::int64_t bytes = 0;
};

std::string shape_string(const std::vector<std::int64_t>& shape);  // "[2, 3]"

// One mapped file. Every offset and size in the header is checked when it is opened: the header's
// length is bounded, ranges must lie in the file, must match shape x dtype, and must not overlap.
class SafetensorsFile {
 public:
  // Throws IoError (cannot be opened) or FormatError (truncated or malformed, saying how).
  explicit SafetensorsFile(const fs::path& path);

  const fs::path& path() const { return file_.path(); }
  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The bytes of a tensor, valid as long as this object. Throws FormatError for an unknown name.
  std::span<const std::byte> data(const std::string& name) const;
  // Takes a tensor out of this process's memory until it is looked at again.
  void forget(const std::string& name) const { file_.forget(data(name)); }

 private:
  core::MappedFile file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::int64_t data_begin_ = 0;
};

// Where the tensors of a file that is to be written will stand.
class SafetensorsLayout {
 public:
  explicit SafetensorsLayout(std::map<std::string, std::string> metadata = {})
      : metadata_(std::move(metadata)) {}

  // Tensors stand in the order in which they are declared.
  void declare(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape);
  // Bytes of the declared tensors together.
  std::int64_t data_bytes() const { return total_; }

  struct Declared {
    std::string name;
    TensorInfo info;
  };
  const std::vector<Declared>& tensors() const { return tensors_; }
  // Everything of the file that stands before the data.
  std::string header() const;

 private:
  std::map<std::string, std::string> metadata_;
  std::vector<Declared> tensors_;
  std::int64_t total_ = 0;
};

// Writes one file in two phases: every tensor is declared, then filled in the order of declaration.
// The file appears under its name only at `finish()`; destroyed before that, nothing remains.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(fs::path path, std::map<std::string, std::string> metadata = {});
  SafetensorsWriter(fs::path path, SafetensorsLayout layout);
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  ~SafetensorsWriter();

  void declare(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape);
  // Bytes of the declared tensors together.
  std::int64_t data_bytes() const { return layout_.data_bytes(); }
  // Throws InternalError where name or size differ from the declaration; ResourceError on a full
  // disk.
  void write(const std::string& name, std::span<const std::byte> data);
  void finish();

 private:
  void open();

  fs::path path_;
  fs::path temporary_;
  SafetensorsLayout layout_;
  std::int64_t data_begin_ = 0;
  std::size_t next_ = 0;
  int descriptor_ = -1;
};

// A file that is filled in any order, perhaps by several processes one after the other. It stands
// under its name from the first write on, zeros where nothing was written: what is in it must be
// noted elsewhere, after `flush()`.
class SafetensorsInPlace {
 public:
  // Goes on with the file where it has this layout, else makes it anew. Throws ResourceError.
  SafetensorsInPlace(fs::path path, const SafetensorsLayout& layout);
  SafetensorsInPlace(const SafetensorsInPlace&) = delete;
  SafetensorsInPlace& operator=(const SafetensorsInPlace&) = delete;
  ~SafetensorsInPlace();

  const fs::path& path() const { return path_; }
  // Whether there was no such file.
  bool is_new() const { return is_new_; }
  // The tensor as it was declared, null where it was not.
  const TensorInfo* find(const std::string& name) const;
  // Throws InternalError for a tensor or a size that the layout does not have; ResourceError.
  void write(const std::string& name, std::span<const std::byte> data);
  // Returns when everything written is on the disk. Throws ResourceError.
  void flush();

 private:
  void open();

  fs::path path_;
  std::string header_;
  std::int64_t size_;
  std::map<std::string, TensorInfo> tensors_;
  bool is_new_ = false;
  int descriptor_ = -1;
};

// All tensors of a Hugging Face directory: `model.safetensors` where it is there, else the shards
// that `model.safetensors.index.json` names: the order of transformers 5. Copies share the maps.
class Checkpoint {
 public:
  // `stem` is "model" for models, "adapter_model" for adapters. Throws IoError where neither file
  // exists or shards are missing, FormatError where the index and the shards disagree (every
  // disagreement is listed).
  explicit Checkpoint(const fs::path& directory, const std::string& stem = "model");

  const fs::path& directory() const { return directory_; }
  std::vector<std::string> names() const;  // as they stand in the files, sorted
  // In files of models that see and read, the text tower has either of two prefixes. All below take
  // a name in transformers 5's spelling ("model.language_model.", "lm_head.") for the other one
  // ("language_model.model.", "language_model.lm_head.") too, where that is what is stored.
  std::string stored_name(const std::string& name) const;
  // The inverse: the name in transformers 5's spelling.
  static std::string canonical_name(const std::string& stored);
  bool contains(const std::string& name) const;
  // Throws FormatError, naming the directory.
  const TensorInfo& info(const std::string& name) const;
  const SafetensorsFile& file_of(const std::string& name) const;
  std::span<const std::byte> data(const std::string& name) const;
  void forget(const std::string& name) const;
  // The shard files in order, and the name of the index that was read ("" where none was).
  const std::vector<std::shared_ptr<SafetensorsFile>>& files() const { return files_; }
  const std::string& index_name() const { return index_name_; }
  // The directory's files of this stem that are not read although their names promise weights: an
  // index that says something else than the whole file beside it, shards that no index names.
  std::vector<std::string> unread() const;
  // A fingerprint: SHA-256 over every tensor's name, dtype and shape and up to 16 KiB of its bytes
  // spread over it. Fast on any size of model; changed by any fine-tuning, not by resharding.
  std::string fingerprint() const;

 private:
  bool says_the_same(const fs::path& index) const;

  fs::path directory_;
  std::string stem_;
  std::string index_name_;
  std::vector<std::shared_ptr<SafetensorsFile>> files_;
  std::map<std::string, std::size_t> owner_;
};

// Throws the IoError of a directory that holds no model: it is not there, or has no config.json.
[[noreturn]] void refuse_model_directory(const fs::path& directory);

// Warns of files that another program might read instead: `unread` ones, an adapter's settings.
// Throws as Checkpoint; FormatError where config.json (transformers_weights) names other weights.
Checkpoint open_model(const fs::path& directory, core::Reporter& reporter);

}  // namespace corda::io
