// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <set>

#include "corda/core/error.h"
#include "corda/core/sha256.h"
#include "corda/core/text.h"
#include "corda/io/safetensors.h"
#include "core/json.h"

namespace corda::io {

using core::concat;
using core::FormatError;

namespace {

std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const std::string source = index.string();
  const core::Json root = core::read_json(index);
  const core::Json& map = core::require_key(root, "weight_map", source);
  std::map<std::string, std::string> result;
  if (!map.is_object() || map.empty())
    throw FormatError(concat("'", index.string(), "': weight_map must be a non-empty object"));
  for (const auto& [name, file] : map.items()) {
    if (!file.is_string() || !core::can_name_file(file.get<std::string>())) {
      throw FormatError(concat("'", index.string(), "': the file of '", name,
                               "' must be a plain file name; it is ", file.dump()));
    }
    result[name] = file.get<std::string>();
  }
  return result;
}

}  // namespace

Checkpoint::Checkpoint(const fs::path& directory, const std::string& stem) : directory_(directory) {
  const fs::path single = directory / (stem + ".safetensors");
  const fs::path index = directory / (stem + ".safetensors.index.json");
  std::map<std::string, std::string> weight_map;
  std::vector<std::string> file_names;
  if (fs::exists(index)) {
    index_name_ = index.filename().string();
    weight_map = read_weight_map(index);
    std::set<std::string> unique;
    for (const auto& [name, file] : weight_map) unique.insert(file);
    file_names.assign(unique.begin(), unique.end());
  } else if (fs::exists(single)) {
    file_names.push_back(single.filename().string());
  } else {
    throw core::IoError(concat(
        "'", directory.string(), "' has no weights that corda reads: ",
        core::why_absent(
            directory, concat(single.filename().string(), " and no ", index.filename().string()))));
  }
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < file_names.size(); ++i) {
    files_.push_back(std::make_shared<SafetensorsFile>(directory / file_names[i]));
    for (const auto& [name, info] : files_.back()->tensors()) {
      if (!owner_.emplace(name, i).second)
        problems.push_back(concat("'", name, "' stands in two shards"));
      if (!weight_map.empty() &&
          (!weight_map.contains(name) || weight_map[name] != file_names[i])) {
        problems.push_back(
            concat("'", name, "' stands in ", file_names[i], " but not so in the index"));
      }
    }
  }
  for (const auto& [name, file] : weight_map) {
    if (!owner_.contains(name)) problems.push_back(concat("'", name, "' is missing from ", file));
  }
  if (!problems.empty()) {
    throw FormatError(concat("'", directory.string(),
                             "': index and shards disagree: ", core::listed(problems, "; ")));
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto& [name, owner] : owner_) result.push_back(name);
  return result;
}

bool Checkpoint::contains(const std::string& name) const { return owner_.contains(name); }

const SafetensorsFile& Checkpoint::file_of(const std::string& name) const {
  const auto found = owner_.find(name);
  if (found == owner_.end())
    throw FormatError(concat("'", directory_.string(), "' has no tensor '", name, "'"));
  return *files_[found->second];
}

const TensorInfo& Checkpoint::info(const std::string& name) const {
  return file_of(name).tensors().at(name);
}

std::span<const std::byte> Checkpoint::data(const std::string& name) const {
  return file_of(name).data(name);
}

std::string Checkpoint::fingerprint() const {
  core::Sha256 hash;
  for (const auto& [name, owner] : owner_) {
    const TensorInfo& tensor = info(name);
    hash.update(concat(name, " ", to_string(tensor.dtype), " ", shape_string(tensor.shape), "\n"));
    core::hash_sample(hash, data(name));
    forget(name);  // looking at a page may have brought in many
  }
  return "sha256-sampled:" + hash.hex_digest();
}

}  // namespace corda::io
