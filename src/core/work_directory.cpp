// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/work_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda::core {

namespace {

constexpr const char* kKey = "made-with";
constexpr const char* kLock = "lock";

void empty_but_lock(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename() != kLock) fs::remove_all(entry.path());
  }
}

bool holds_results(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().filename() != kLock && entry.path().filename() != kKey) return true;
  }
  return false;
}

}  // namespace

WorkDirectory::WorkDirectory(const fs::path& out, std::string_view key, Reporter& reporter) {
  fs::path final_path = fs::absolute(out).lexically_normal();
  if (!final_path.has_filename()) final_path = final_path.parent_path();
  path_ = final_path.string() + ".work";
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw IoError(concat("cannot create '", path_.string(), "': ", error.message()));
  lock_ = ::open((path_ / kLock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (lock_ < 0)
    throw IoError(concat("cannot create '", (path_ / kLock).string(), "': ", std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    throw ResourceError(concat("another process is working on '", final_path.string(),
                               "' (it holds '", (path_ / kLock).string(),
                               "'); wait for it or choose another --out"));
  }
  const bool same = has(kKey) && read_file(path_ / kKey) == key;
  if (same) return;
  if (holds_results(path_)) {
    reporter.warn(concat("'", path_.string(),
                         "' holds parts made with other settings, another model or other data: "
                         "they are thrown away"));
  }
  empty_but_lock(path_);
  write_file_atomic(path_ / kKey, key);
}

WorkDirectory::~WorkDirectory() {
  if (lock_ < 0) return;
  if (!holds_results(path_)) remove();
  if (lock_ >= 0) ::close(lock_);
}

void WorkDirectory::remove() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  ::close(lock_);
  lock_ = -1;
}

}  // namespace corda::core
