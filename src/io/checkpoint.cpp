// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <array>
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

constexpr std::int64_t kMaxIndexBytes = 100'000'000;  // as much as one file's header may have

std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const std::string source = index.string();
  const core::Json root = core::parse_json(core::read_file(index, kMaxIndexBytes), source);
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

Checkpoint::Checkpoint(const fs::path& directory, const std::string& stem)
    : directory_(directory), stem_(stem) {
  const fs::path single = directory / (stem + ".safetensors");
  const fs::path index = directory / (stem + ".safetensors.index.json");
  std::map<std::string, std::string> weight_map;
  std::vector<std::string> file_names;
  if (fs::is_regular_file(single)) {
    file_names.push_back(single.filename().string());
  } else if (fs::exists(index)) {
    index_name_ = index.filename().string();
    weight_map = read_weight_map(index);
    std::set<std::string> unique;
    for (const auto& [name, file] : weight_map) unique.insert(file);
    file_names.assign(unique.begin(), unique.end());
  } else {
    throw core::IoError(concat(
        "'", directory.string(), "' has no weights that corda reads: ",
        core::why_absent(
            directory, concat(single.filename().string(), " and no ", index.filename().string()))));
  }
  std::vector<std::string> missing;
  for (const auto& file : file_names) {
    if (!fs::exists(directory / file)) missing.push_back(concat("'", file, "'"));
  }
  if (!missing.empty()) {
    throw core::IoError(concat("'", index.string(), "' names ", missing.size(), " of ",
                               file_names.size(), " files that are not there: ",
                               core::listed(missing, ", "), "; download or copy them again"));
  }
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < file_names.size(); ++i) {
    files_.push_back(std::make_shared<SafetensorsFile>(directory / file_names[i]));
    for (const auto& [name, info] : files_.back()->tensors()) {
      if (!owner_.emplace(name, i).second) {
        problems.push_back(concat("'", name, "' stands in two shards, ",
                                  file_names[owner_.at(name)], " and ", file_names[i]));
      } else if (!weight_map.empty() &&
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
    throw FormatError(
        concat("'", index.string(), "' and the shards disagree: ", core::listed(problems, "; ")));
  }
}

bool Checkpoint::says_the_same(const fs::path& index) const {
  try {
    const auto map = read_weight_map(index);
    return map.size() == owner_.size() &&
           std::all_of(map.begin(), map.end(), [&](const auto& entry) {
             const auto found = owner_.find(entry.first);
             return found != owner_.end() &&
                    files_[found->second]->path().filename() == entry.second;
           });
  } catch (const core::Error&) {
    return false;  // it is there, though this process may not read it
  }
}

std::vector<std::string> Checkpoint::unread() const {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.starts_with(stem_ + ".") || name.starts_with(stem_ + "-");
    if (!ours || name == index_name_ || entry.is_directory()) continue;
    const bool is_index = name.find(".safetensors.index.") != std::string::npos;
    if (!is_index && !name.ends_with(".safetensors")) continue;
    const bool read = std::any_of(files_.begin(), files_.end(), [&](const auto& file) {
      return file->path().filename() == name;
    });
    if (read || (is_index && says_the_same(entry.path()))) continue;
    names.insert(concat("'", name, "'"));
  }
  return {names.begin(), names.end()};
}

namespace {

// The key of config.json by which transformers loads a file of another name.
void check_named_weights(const Checkpoint& model) {
  const fs::path config = model.directory() / "config.json";
  if (!fs::exists(config)) return;
  const core::Json root = core::read_json(config);
  const auto named = root.find("transformers_weights");
  if (named == root.end() || named->is_null()) return;
  const std::string read = model.index_name().empty()
                               ? model.files().front()->path().filename().string()
                               : model.index_name();
  if (*named == read) return;
  throw FormatError(concat("'", config.string(), "': 'transformers_weights' is ", named->dump(),
                           ", which transformers would load, but corda reads ", read,
                           "; remove the key, or give the file that name"));
}

}  // namespace

void refuse_model_directory(const fs::path& directory) {
  throw core::IoError(concat("'", directory.string(), "' is not a Hugging Face model directory: ",
                             core::why_absent(directory, "config.json")));
}

Checkpoint open_model(const fs::path& directory, core::Reporter& reporter) {
  if (!fs::is_directory(directory)) refuse_model_directory(directory);
  Checkpoint model(directory);
  check_named_weights(model);
  if (const auto unread = model.unread(); !unread.empty()) {
    reporter.warn(concat("'", directory.string(), "': the weights are those of ",
                         model.index_name().empty()
                             ? model.files().front()->path().filename().string()
                             : model.index_name(),
                         ", as in transformers; not read: ", core::listed(unread, ", "),
                         "; remove what is left of an earlier save"));
  }
  if (fs::exists(directory / "adapter_config.json")) {
    reporter.warn(concat("'", directory.string(),
                         "' also holds an adapter (adapter_config.json): transformers would load "
                         "the adapter's base and apply it, corda reads the weights of the model "
                         "alone"));
  }
  return model;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> result;
  for (const auto& [name, owner] : owner_) result.push_back(name);
  return result;
}

namespace {

// Prefixes of a text tower inside another model: as transformers 5 names its modules, and as older
// files have them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kSpellings = {
    {{"model.language_model.", "language_model.model."}, {"lm_head.", "language_model.lm_head."}}};

}  // namespace

std::string Checkpoint::stored_name(const std::string& name) const {
  if (owner_.contains(name)) return name;
  for (const auto& [ours, theirs] : kSpellings) {
    if (!name.starts_with(ours)) continue;
    const std::string other = concat(theirs, name.substr(ours.size()));
    if (owner_.contains(other)) return other;
  }
  return name;
}

std::string Checkpoint::canonical_name(const std::string& stored) {
  for (const auto& [ours, theirs] : kSpellings) {
    if (stored.starts_with(theirs)) return concat(ours, stored.substr(theirs.size()));
  }
  return stored;
}

bool Checkpoint::contains(const std::string& name) const {
  return owner_.contains(stored_name(name));
}

const SafetensorsFile& Checkpoint::file_of(const std::string& name) const {
  const auto found = owner_.find(stored_name(name));
  if (found == owner_.end())
    throw FormatError(concat("'", directory_.string(), "' has no tensor '", name, "'"));
  return *files_[found->second];
}

const TensorInfo& Checkpoint::info(const std::string& name) const {
  return file_of(name).tensors().at(stored_name(name));
}

std::span<const std::byte> Checkpoint::data(const std::string& name) const {
  return file_of(name).data(stored_name(name));
}

void Checkpoint::forget(const std::string& name) const { file_of(name).forget(stored_name(name)); }

std::string Checkpoint::fingerprint() const {
  core::Sha256 hash;
  for (const auto& [name, owner] : owner_) {
    const TensorInfo& tensor = info(name);
    hash.update(concat(name, " ", to_string(tensor.dtype), " ", shape_string(tensor.shape), "\n"));
    core::hash_sample(hash, data(name));
    forget(name);  // looking at one page may have brought in many
  }
  return "sha256-sampled:" + hash.hex_digest();
}

}  // namespace corda::io
