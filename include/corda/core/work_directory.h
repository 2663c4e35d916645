// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Finished parts of a long job, kept beside its output until that is complete.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "corda/core/config_node.h"
#include "corda/core/file.h"
#include "corda/core/reporter.h"

namespace corda::core {

namespace fs = std::filesystem;

// Where the finished parts of the output `out` are kept: `OUT.work`, absolute.
fs::path work_path(const fs::path& out);

// Throws ConfigError where that folder holds files but not the mark of a WorkDirectory: they are
// somebody's own. The constructor asks too; this is for whoever has long to go until then.
void refuse_foreign_work(const fs::path& out);

// The folder `OUT.work`, beside what OUT links to. It outlives a killed process, so that the same
// command goes on from what it finds there; each file in it must appear atomically. Finished files
// are linked into the output, not moved (core::link_or_move), so that nothing is lost before the
// output is complete. One process at a time may hold it.
class WorkDirectory {
 public:
  // `made_with` says everything the results depend on; `derived` names what in it follows from the
  // rest (`differences`). Throws ConfigError where the folder holds
  // parts made with something else, and says what differs; ConfigError as refuse_foreign_work and
  // AtomicDirectory; ResourceError where another process works on the same output or the folder
  // cannot be made. Nothing is removed then.
  WorkDirectory(const fs::path& out, const ConfigNode& made_with, Reporter& reporter,
                const std::set<std::string>& derived = {});
  WorkDirectory(const WorkDirectory&) = delete;
  WorkDirectory& operator=(const WorkDirectory&) = delete;
  // The folder stays, which is said, unless `remove` was called or nothing was put into it.
  ~WorkDirectory();

  const fs::path& path() const { return path_; }
  // Removes the files in it, and itself where nothing else is left.
  void remove();

 private:
  fs::path path_;
  Reporter& reporter_;
  std::optional<DirectoryLock> lock_;
};

}  // namespace corda::core
