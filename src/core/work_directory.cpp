// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/work_directory.h"

#include <system_error>

#include "corda/core/error.h"

namespace corda::core {

namespace {

constexpr const char* kKey = "made-with";

bool holds_results(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename() != kKey) return true;
  }
  return false;
}

// The key first: what is left by a process that is killed here is not taken for whole.
void empty(const fs::path& folder) {
  std::error_code ignored;
  fs::remove(folder / kKey, ignored);
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    fs::remove_all(entry.path(), ignored);
}

}  // namespace

fs::path work_path(const fs::path& out) { return resolved_output(out).string() + ".work"; }

WorkDirectory::WorkDirectory(const fs::path& out, std::string_view key, Reporter& reporter)
    : path_(work_path(out)), reporter_(reporter) {
  lock_.emplace(path_, resolved_output(out));
  if (fs::exists(path_ / kKey) && read_file(path_ / kKey) == key) return;
  if (holds_results(path_)) {
    reporter.warn(concat("'", path_.string(),
                         "' holds parts made with other settings, another model or other data: "
                         "they are thrown away"));
  }
  empty(path_);
  write_file_atomic(path_ / kKey, key);
}

WorkDirectory::~WorkDirectory() {
  if (!holds_results(path_)) {
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
