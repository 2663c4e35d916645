// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "user_paths.h"

#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>

#include "corda/core/error.h"

namespace corda::tools {

using core::concat;

namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
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

void expand_paths(const core::SettingsList& list) { list.change_paths(user_path); }

std::filesystem::path cache_directory() {
  const std::filesystem::path given = environment("XDG_CACHE_HOME");
  if (given.is_absolute()) return given / "corda";
  const std::string home = home_of("");
  return home.empty() ? std::filesystem::path() : std::filesystem::path(home) / ".cache" / "corda";
}

}  // namespace corda::tools
