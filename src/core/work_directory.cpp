// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/work_directory.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <vector>

#include "corda/core/error.h"
#include "corda/core/text.h"
#include "core/unfinished_file.h"

namespace corda::core {

namespace {

// The mark of a folder of ours: what its parts depend on.
constexpr const char* kKey = "made-with";
// The name that the mark has while parts are removed. What a process leaves that is killed then
// counts for nothing, and is still known as ours.
constexpr const char* kVoid = "made-with.void";

// A mark that was not whole when its process was killed counts as none.
bool is_mark(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == kKey || name == kVoid || is_unfinished(file, kKey);
}

bool holds_parts(const fs::path& folder) {
  std::error_code ignored;
  const fs::directory_iterator entries(folder, ignored);
  return std::any_of(begin(entries), end(entries),
                     [](const auto& entry) { return !is_mark(entry.path()); });
}

// Removes the files in a folder. Parts are files, so a folder in it is the user's own and stays.
void empty(const fs::path& folder) {
  std::error_code ignored;
  fs::rename(folder / kKey, folder / kVoid, ignored);
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (!entry.is_directory(ignored) && entry.path().filename() != kVoid)
      fs::remove(entry.path(), ignored);
  }
  fs::remove(folder / kVoid, ignored);
}

// What differs, in a sentence's half.
std::string why_not(const std::string& saved, const ConfigNode& made_with,
                    const std::set<std::string>& derived) {
  std::vector<std::string> found;
  try {
    found = differences(parse_yaml(saved, kKey), made_with, derived);
  } catch (const FormatError&) {  // what another version wrote
  }
  if (found.empty()) return "they were made by another version of corda";
  return listed(found);
}

}  // namespace

fs::path work_path(const fs::path& out) { return resolved_output(out).string() + ".work"; }

void refuse_foreign_work(const fs::path& out) {
  const fs::path path = work_path(out);
  if (fs::exists(path / kKey) || fs::exists(path / kVoid) || !holds_parts(path)) return;
  throw ConfigError(
      concat("'", path.string(),
             "', where unfinished work on this output would be kept, holds files that "
             "corda did not make; move that folder away or choose another --out"));
}

WorkDirectory::WorkDirectory(const fs::path& out, const ConfigNode& made_with, Reporter& reporter,
                             const std::set<std::string>& derived)
    : path_(work_path(out)), reporter_(reporter) {
  lock_.emplace(path_, resolved_output(out));
  refuse_foreign_work(out);
  const std::string key = to_yaml(made_with);
  const std::string saved = fs::exists(path_ / kKey) ? read_file(path_ / kKey) : "";
  if (saved == key) return;
  if (fs::exists(path_ / kKey) && holds_parts(path_)) {
    throw ConfigError(concat("'", path_.string(), "' holds unfinished work, but ",
                             why_not(saved, made_with, derived),
                             "; delete that folder to start anew, or repeat the earlier command"));
  }
  empty(path_);
  write_file_atomic(path_ / kKey, key);
}

WorkDirectory::~WorkDirectory() {
  if (!holds_parts(path_)) {
    empty(path_);  // the lock removes the folder that is left
    return;
  }
  try {
    reporter_.info(concat("what is finished stays in '", path_.string(),
                          "': the same command goes on from there"));
  } catch (...) {  // the error that ended the work says more
  }
}

void WorkDirectory::remove() { empty(path_); }

}  // namespace corda::core
