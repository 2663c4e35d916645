// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Finished parts of a long job, kept beside its output until that is complete.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "corda/core/file.h"
#include "corda/core/reporter.h"

namespace corda::core {

namespace fs = std::filesystem;

// Where the finished parts of the output `out` are kept: `OUT.work`, absolute.
fs::path work_path(const fs::path& out);

// The folder `OUT.work`, beside what OUT links to. It outlives a killed process, so that the same
// command goes on from what it finds there; each file in it must appear atomically. Finished files
// are linked into the output, not moved (core::link_or_move), so that nothing is lost before the
// output is complete. One process at a time may hold it.
class WorkDirectory {
 public:
  // `key` says everything the results depend on. What was made with another key is thrown away
  // with a warning. Throws ResourceError where another process works on the same output or the
  // folder cannot be made; ConfigError as AtomicDirectory.
  WorkDirectory(const fs::path& out, std::string_view key, Reporter& reporter);
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  // The folder stays, which is said, unless `remove` was called or nothing was put into it.
  ~WorkDirectory();

  const fs::path& path() const { return path_; }
  void remove();

 private:
  fs::path path_;
  Reporter& reporter_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace corda::core
