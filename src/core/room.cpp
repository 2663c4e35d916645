// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/room.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <system_error>

#include "corda/core/error.h"
#include "corda/core/quantity.h"

namespace corda::core {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

// The number behind `key` at the front of a line, with "" the first of the file. nullopt where
// there is none, as where the file says "max".
std::optional<std::int64_t> number_in(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    std::istringstream rest(line.substr(key.size()));
    if (std::int64_t value = 0; rest >> value) return value;
    return std::nullopt;
  }
  return std::nullopt;
}

std::int64_t kilobytes_in(const fs::path& file, std::string_view key) {
  return 1024 * number_in(file, key).value_or(0);
}

// The files of a memory control group, of version 2 and of version 1.
struct GroupFiles {
  const char* limit;
  const char* used;
  std::array<std::string_view, 2> caches;  // keys of memory.stat: what is given up when asked for
};
constexpr GroupFiles kVersion2 = {
    "memory.max", "memory.current", {"inactive_file ", "active_file "}};
constexpr GroupFiles kVersion1 = {"memory.limit_in_bytes",
                                  "memory.usage_in_bytes",
                                  {"total_inactive_file ", "total_active_file "}};

std::int64_t room_in(const fs::path& group, const GroupFiles& files) {
  const auto limit = number_in(group / files.limit, "");
  const auto used = number_in(group / files.used, "");
  if (!limit || !used) return kNoLimit;
  std::int64_t kept = *used;
  for (const std::string_view cache : files.caches)
    kept -= number_in(group / "memory.stat", cache).value_or(0);
  return *limit - std::max<std::int64_t>(kept, 0);
}

// Of the groups from `path` up to the one at `mount`.
std::int64_t room_in_groups(const fs::path& mount, const fs::path& path, const GroupFiles& files) {
  std::int64_t room = room_in(mount, files);
  fs::path group = mount;
  for (const fs::path& part : path.relative_path()) {
    if (part == "..") break;  // it lies outside of what this process sees
    group /= part;
    room = std::min(room, room_in(group, files));
  }
  return room;
}

std::int64_t room_in_control_groups(const fs::path& root) {
  std::ifstream groups(root / "proc/self/cgroup");
  std::int64_t room = kNoLimit;
  for (std::string line; std::getline(groups, line);) {  // NUMBER:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path path = line.substr(second + 1);
    const fs::path mount = root / "sys/fs/cgroup";
    if (controllers == ",,") {
      room = std::min(room, room_in_groups(mount, path, kVersion2));
    } else if (controllers.find(",memory,") != std::string::npos) {
      room = std::min(room, room_in_groups(mount / "memory", path, kVersion1));
    }
  }
  return room;
}

// What `ulimit -v` leaves.
std::int64_t room_in_address_space(const fs::path& root) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return kNoLimit;
  return static_cast<std::int64_t>(limit.rlim_cur) -
         kilobytes_in(root / "proc/self/status", "VmSize:");
}

}  // namespace

std::int64_t available_memory_bytes(const fs::path& root) {
  const fs::path info = root / "proc/meminfo";
  const std::int64_t swap = kilobytes_in(info, "SwapFree:");
  std::int64_t room = room_in_control_groups(root);
  if (number_in(info, "MemAvailable:")) room = std::min(room, kilobytes_in(info, "MemAvailable:"));
  if (room < kNoLimit - swap) room += swap;
  return std::max<std::int64_t>(0, std::min(room, room_in_address_space(root)));
}

void require_memory(const std::string& what, std::int64_t bytes, const std::string& memory,
                    std::int64_t free, const std::string& advice) {
  if (bytes <= free) return;
  throw ResourceError(concat(what, " needs ", size_text(bytes), ", and ", memory, " has ",
                             size_text(free), " free; ", advice));
}

std::int64_t free_disk_bytes(const fs::path& path) {
  fs::path existing = fs::absolute(path);
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  const auto space = fs::space(existing, error);
  if (error || space.available > static_cast<std::uintmax_t>(kNoLimit)) return kNoLimit;
  return static_cast<std::int64_t>(space.available);
}

void require_disk_space(const fs::path& path, std::int64_t bytes, const std::string& what) {
  const std::int64_t free = free_disk_bytes(path);
  if (bytes <= free) return;
  throw ResourceError(concat("'", path.string(), "' needs ", size_text(bytes),
                             what.empty() ? "" : " for ", what, ", and its disk has ",
                             size_text(free), " free; free some space or write somewhere else"));
}

}  // namespace corda::core
