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

void empty(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    fs::remove_all(entry.path(), ignored);
}

}  // namespace

fs::path work_path(const fs::path& out) {
  fs::path final_path = fs::absolute(out).lexically_normal();
  if (!final_path.has_filename()) final_path = final_path.parent_path();
  return final_path.string() + ".work";
}

WorkDirectory::WorkDirectory(const fs::path& out, std::string_view key, Reporter& reporter)
    : path_(work_path(out)), reporter_(reporter) {
  lock_.emplace(path_, out);
  if (has(kKey) && read_file(path_ / kKey) == key) return;
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
