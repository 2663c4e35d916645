// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "user_paths.h"

#include <glob.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "corda/core/environment.h"
#include "corda/core/error.h"
#include "corda/core/hub_cache.h"
#include "corda/core/text.h"

namespace corda::tools {

using core::concat;

namespace {

std::string environment(const std::string& name) {
  return core::environment_variable(name).value_or("");
}

// "" where it is not known.
std::string home_of(const std::string& user) {
  if (user.empty()) {
    if (const std::string home = environment("HOME"); !home.empty()) return home;
  }
  const passwd* entry = user.empty() ? ::getpwuid(::getuid()) : ::getpwnam(user.c_str());
  return entry == nullptr ? "" : entry->pw_dir;
}

// The first "$NAME" or "${NAME}" in a path, "" where there is none.
std::string variable_in(const std::string& path) {
  for (std::size_t at = path.find('$'); at != std::string::npos; at = path.find('$', at + 1)) {
    std::size_t end = at + 1;
    const bool braced = end < path.size() && path[end] == '{';
    if (braced) ++end;
    const std::size_t name = end;
    const auto in_name = [&](char c) {
      return c == '_' || std::isalpha(static_cast<unsigned char>(c)) != 0 ||
             (end > name && std::isdigit(static_cast<unsigned char>(c)) != 0);
    };
    while (end < path.size() && in_name(path[end])) ++end;
    if (end == name) continue;
    if (!braced) return path.substr(at, end - at);
    if (end < path.size() && path[end] == '}') return path.substr(at, end + 1 - at);
  }
  return "";
}

}  // namespace

std::string user_path(const std::string& path) {
  if (const std::string variable = variable_in(path); !variable.empty()) {
    throw core::ConfigError(concat("'", path, "' holds the variable ", variable,
                                   ", which is not looked up here; write what it stands for"));
  }
  if (!path.starts_with('~')) return path;
  const std::size_t slash = path.find('/');
  const std::string user = path.substr(1, slash == std::string::npos ? slash : slash - 1);
  const std::string home = home_of(user);
  if (home.empty()) {
    throw core::ConfigError(concat("the home folder that '~", user, "' of '", path,
                                   "' means is not known; write the whole path, or ./", path,
                                   " for a folder of that name"));
  }
  return slash == std::string::npos ? home : home + path.substr(slash);
}

namespace {

namespace fs = std::filesystem;

// `path` with a '~' at its front and variables written out, as huggingface_hub reads the variables
// that say where its cache is.
fs::path written_out(std::string path) {
  for (std::string variable = variable_in(path); !variable.empty(); variable = variable_in(path)) {
    std::string name = variable.substr(1);
    if (name.starts_with('{')) name = name.substr(1, name.size() - 2);
    const std::string value = environment(name);
    if (value.empty()) break;
    path.replace(path.find(variable), variable.size(), value);
  }
  if (path == "~" || path.starts_with("~/")) path = home_of("") + path.substr(1);
  return path;
}

bool is_pattern(const std::string& path) { return path.find_first_of("*?[") != std::string::npos; }

bool exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Sorted, so that the order of the data does not depend on the language of the user.
std::vector<std::string> matches_of(const std::string& pattern) {
  if (pattern.find("**") != std::string::npos) {
    throw core::ConfigError(concat("'", pattern,
                                   "': a pattern knows '*', '?' and '[...]' within "
                                   "the name of a file or folder; '**' is not one of them"));
  }
  glob_t found{};
  const int status = ::glob(pattern.c_str(), GLOB_NOSORT | GLOB_ERR, nullptr, &found);
  std::vector<std::string> paths(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status == GLOB_ABORTED)
    throw core::IoError(concat("a folder that '", pattern, "' looks into cannot be read"));
  std::erase_if(paths, [](const std::string& path) { return fs::is_directory(path); });
  if (paths.empty()) throw core::IoError(concat("no file matches '", pattern, "'"));
  std::sort(paths.begin(), paths.end());
  return paths;
}

// The files of a dataset that may be data, for a message.
std::vector<std::string> data_files_in(const fs::path& snapshot) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(snapshot)) {
    const std::string name = entry.path().lexically_relative(snapshot).string();
    const bool other = name.ends_with(".md") || name.ends_with(".py") || name.front() == '.';
    if (!other && !entry.is_directory()) files.push_back(name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::vector<std::string> hub_data(const std::string& path) {
  const auto address = *core::parse_hub_address(path, core::HubKind::kDataset);
  const fs::path snapshot = core::find_snapshot(hub_cache_directory(), address);
  const auto files = data_files_in(snapshot);
  if (address.file.empty()) {
    if (files.size() == 1) return {(snapshot / files.front()).string()};
    throw core::ConfigError(
        concat("'", path, "' holds ", files.size(),
               " files; name one, or a pattern, behind it: ", core::listed(files)));
  }
  const std::string wanted = (snapshot / address.file).string();
  if (exists(wanted)) return {wanted};
  if (is_pattern(address.file)) {
    try {
      return matches_of(wanted);
    } catch (const core::IoError&) {  // said better below
    }
  }
  throw core::IoError(concat("'", address.file, "' is not in the copy of the dataset '", address.id,
                             "' that the Hugging Face cache has (it has ", core::listed(files),
                             "); fetch it with: ", core::download_command(address)));
}

std::vector<std::string> data_paths(const std::string& given) {
  if (given.starts_with("hf://")) return hub_data(given);
  const std::string path = user_path(given);
  return is_pattern(path) && !exists(path) ? matches_of(path) : std::vector{path};
}

std::string model_path(const std::string& given) {
  const bool hub = given.starts_with("hf://");
  const std::string path = hub ? given : user_path(given);
  if (!hub && exists(path)) return path;
  const auto address = core::parse_hub_address(path, core::HubKind::kModel);
  if (!address) return path;  // who reads it says that it is not there
  const fs::path cache = hub_cache_directory();
  const bool plain = !hub && address->id.find('/') == std::string::npos;
  if (plain && !core::in_hub_cache(cache, *address)) return path;
  try {
    return core::find_snapshot(cache, *address).string();
  } catch (const core::IoError& error) {
    if (hub || core::in_hub_cache(cache, *address)) throw;
    throw core::IoError(concat("there is no folder '", path, "', and ", error.what()));
  }
}

}  // namespace

std::vector<std::string> paths_of(const std::string& path, core::PathKind kind) {
  if (path.empty()) return {path};
  switch (kind) {
    case core::PathKind::kModel:
      return {model_path(path)};
    case core::PathKind::kData:
      return data_paths(path);
    case core::PathKind::kOther:
    case core::PathKind::kNone:
      break;
  }
  return {user_path(path)};
}

void expand_paths(const core::SettingsList& list) { list.change_paths(paths_of); }

std::filesystem::path hub_cache_directory() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string given = environment(name); !given.empty()) return written_out(given);
  }
  std::string home = environment("HF_HOME");
  if (home.empty()) {
    const std::string cache = environment("XDG_CACHE_HOME");
    home = (cache.empty() ? "~/.cache" : cache) + "/huggingface";
  }
  return written_out(home) / "hub";
}

std::filesystem::path cache_directory() {
  const std::filesystem::path given = environment("XDG_CACHE_HOME");
  if (given.is_absolute()) return given / "corda";
  const std::string home = home_of("");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "corda";
}

}  // namespace corda::tools
