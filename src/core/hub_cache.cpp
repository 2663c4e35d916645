// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/file.h"
#include "corda/core/text.h"
#include "core/json.h"

namespace corda::core {

namespace {

constexpr std::string_view kScheme = "hf://";
constexpr std::string_view kDatasets = "datasets/";
constexpr std::string_view kModels = "models/";

// Whether the hub allows this as the organisation or the name of a repository.
bool is_name(std::string_view part) {
  const auto allowed = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  };
  return !part.empty() && part.size() <= 96 && std::all_of(part.begin(), part.end(), allowed) &&
         part.front() != '.' && part.front() != '-' && part.back() != '.' && part.back() != '-' &&
         part.find("--") == std::string_view::npos && part.find("..") == std::string_view::npos;
}

// A revision's name stays below the folder of refs.
bool is_revision(const std::string& revision) {
  const auto parts = split(revision, '/');
  return std::none_of(parts.begin(), parts.end(), [](const std::string& part) {
    return part.empty() || part == "." || part == "..";
  });
}

std::string with_slashes(std::string text) {
  for (const char* code : {"%2F", "%2f"}) {
    for (auto at = text.find(code); at != std::string::npos; at = text.find(code))
      text.replace(at, 3, "/");
  }
  return text;
}

// How many parts of a path behind an "@" are the revision: refs/pr/1 and refs/convert/parquet are
// one.
std::size_t revision_parts(std::string_view text) {
  return text.starts_with("refs/pr/") || text.starts_with("refs/convert/") ? 3 : 1;
}

// Takes "@revision" and, behind it, "/file" off the name's second part.
std::optional<HubAddress> parse_repository(HubKind kind, std::string_view text) {
  HubAddress address{.kind = kind};
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || !is_name(text.substr(0, slash))) return std::nullopt;
  const auto end = std::min(text.find_first_of("@/", slash + 1), text.size());
  if (!is_name(text.substr(slash + 1, end - slash - 1))) return std::nullopt;
  address.id = std::string(text.substr(0, end));
  std::string_view rest = text.substr(end);
  if (rest.starts_with('@')) {
    rest.remove_prefix(1);
    std::size_t stop = 0;
    for (std::size_t i = revision_parts(rest); i > 0 && stop != std::string_view::npos; --i)
      stop = rest.find('/', stop == 0 ? 0 : stop + 1);
    address.revision = with_slashes(std::string(rest.substr(0, stop)));
    rest = stop == std::string_view::npos ? std::string_view() : rest.substr(stop);
    if (!is_revision(address.revision)) return std::nullopt;
  }
  while (rest.starts_with('/')) rest.remove_prefix(1);
  address.file = std::string(rest);
  return address;
}

std::filesystem::path folder_of(const std::filesystem::path& cache, const HubAddress& address) {
  std::string name = address.kind == HubKind::kModel ? "models--" : "datasets--";
  const auto slash = address.id.find('/');
  name += slash == std::string::npos
              ? address.id
              : address.id.substr(0, slash) + "--" + address.id.substr(slash + 1);
  return cache / name;
}

const char* word_of(HubKind kind) { return kind == HubKind::kModel ? "model" : "dataset"; }

std::string advice(const HubAddress& address) {
  return concat("; fetch it with: ", download_command(address));
}

// "" where refs has no such name.
std::string commit_of(const fs::path& repository, const std::string& revision) {
  const fs::path reference = repository / "refs" / revision;
  std::error_code ignored;
  if (!fs::is_regular_file(reference, ignored)) return "";
  return std::string(trim(read_file(reference, 4096)));
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(directory, ignored))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// The first file of a model's folder that must be there and is not; "" where all are.
std::string missing_file(const fs::path& snapshot) {
  if (!fs::exists(snapshot / "config.json") && !fs::exists(snapshot / "adapter_config.json"))
    return "config.json";
  const fs::path index = snapshot / "model.safetensors.index.json";
  if (!fs::exists(index) || fs::exists(snapshot / "model.safetensors")) return "";
  const Json json = parse_json(read_file(index), index.string());
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    return "";  // who reads the weights says what is wrong with it
  for (const auto& [tensor, shard] : json["weight_map"].items()) {
    if (shard.is_string() && can_name_file(shard.get<std::string>()) &&
        !fs::exists(snapshot / shard.get<std::string>()))
      return shard.get<std::string>();
  }
  return "";
}

void check_links(const fs::path& snapshot, const HubAddress& address) {
  for (const auto& entry : fs::recursive_directory_iterator(snapshot)) {
    std::error_code ignored;
    if (!entry.is_symlink(ignored) || fs::exists(entry.path(), ignored)) continue;
    throw IoError(
        concat("'", entry.path().string(), "' links to a file that is not there", advice(address)));
  }
}

}  // namespace

std::optional<HubAddress> parse_hub_address(std::string_view text, HubKind wanted) {
  if (!text.starts_with(kScheme)) {
    if (wanted == HubKind::kDataset) return std::nullopt;
    auto address = parse_repository(HubKind::kModel, text);
    if (address && !address->file.empty()) return std::nullopt;  // a path of three parts
    if (!address && is_name(text))
      return HubAddress{.kind = HubKind::kModel, .id = std::string(text)};
    return address;
  }
  std::string_view rest = text.substr(kScheme.size());
  HubKind kind = wanted;
  if (rest.starts_with(kDatasets)) {
    kind = HubKind::kDataset;
    rest.remove_prefix(kDatasets.size());
  } else if (rest.starts_with(kModels)) {
    kind = HubKind::kModel;
    rest.remove_prefix(kModels.size());
  }
  const auto address = parse_repository(kind, rest);
  if (!address) {
    throw ConfigError(
        concat("'", text, "' names no repository; write ", kScheme,
               wanted == HubKind::kDataset ? "datasets/org/name/file.jsonl" : "org/name",
               ", with @revision behind the name if it is not the main one"));
  }
  if (address->kind != wanted) {
    throw ConfigError(concat("'", text, "' is a ", word_of(address->kind), " of the hub; a ",
                             word_of(wanted), " was expected"));
  }
  if (wanted == HubKind::kModel && !address->file.empty()) {
    throw ConfigError(concat("'", text, "' names a file; write ", kScheme, address->id,
                             ", since a model is the whole repository"));
  }
  return address;
}

std::string download_command(const HubAddress& address) {
  std::string command = "hf download " + address.id;
  const bool pattern = address.file.find_first_of("*?[") != std::string::npos;
  if (!address.file.empty())
    command += pattern ? " --include '" + address.file + "'" : " " + address.file;
  if (address.kind == HubKind::kDataset) command += " --repo-type dataset";
  if (address.revision != "main") command += " --revision " + address.revision;
  return command;
}

bool in_hub_cache(const fs::path& cache, const HubAddress& address) {
  std::error_code ignored;
  return fs::is_directory(folder_of(cache, address) / "snapshots", ignored);
}

fs::path find_snapshot(const fs::path& cache, const HubAddress& address) {
  const char* word = word_of(address.kind);
  if (!in_hub_cache(cache, address)) {
    throw IoError(concat("the Hugging Face cache (", cache.string(), ") has no ", word, " '",
                         address.id, "'", advice(address)));
  }
  const fs::path repository = folder_of(cache, address);
  const std::string commit = commit_of(repository, address.revision);
  const std::string& name = commit.empty() ? address.revision : commit;
  const fs::path snapshot = repository / "snapshots" / name;
  std::error_code ignored;
  if (name.find('/') != std::string::npos || !fs::is_directory(snapshot, ignored)) {
    const auto others = names_in(repository / "snapshots");
    throw IoError(concat("the Hugging Face cache (", cache.string(), ") has the ", word, " '",
                         address.id, "' but not its revision '", address.revision, "'",
                         others.empty() ? "" : " (it has " + listed(others) + ")",
                         advice(address)));
  }
  check_links(snapshot, address);
  if (const std::string missing = address.kind == HubKind::kModel ? missing_file(snapshot) : "";
      !missing.empty()) {
    throw IoError(concat("the Hugging Face cache (", cache.string(), ") holds the model '",
                         address.id, "' without ", missing, advice(address)));
  }
  return snapshot;
}

std::string hub_name_of(const std::string& path) {
  constexpr std::string_view kFolder = "models--";
  const fs::path whole = fs::path(path).lexically_normal();
  const fs::path folder = whole.has_filename() ? whole : whole.parent_path();
  if (folder.parent_path().filename() != "snapshots") return path;
  std::string name = folder.parent_path().parent_path().filename().string();
  if (!name.starts_with(kFolder)) return path;
  name.erase(0, kFolder.size());
  if (const auto separator = name.find("--"); separator != std::string::npos)
    name.replace(separator, 2, "/");
  return name;
}

}  // namespace corda::core
