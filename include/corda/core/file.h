// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reading files whole or mapped, and writing them so that a half-written one is never seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace corda::core {

namespace fs = std::filesystem;

// Whether a name that came from elsewhere stays in its folder and in sight: not empty, no '/', no
// '.' at its front.
bool can_name_file(std::string_view name);

// Throws ResourceError: "cannot DOING 'path': why", with what to do; `code` is an errno.
[[noreturn]] void throw_output_error(const char* doing, const fs::path& path, int code);

// Why `directory` has no `file`, for messages: "it does not exist", "it is no directory" or "it
// holds no FILE".
std::string why_absent(const fs::path& directory, std::string_view file);

// The whole content of a regular file. Throws IoError (missing, unreadable, larger than
// `max_bytes`).
std::string read_file(const fs::path& path, std::int64_t max_bytes = std::int64_t{1} << 31);

// Writes `path.tmp-*`, fsyncs it and renames it to `path`. Throws ResourceError (disk full, not
// writable).
void write_file_atomic(const fs::path& path, std::string_view content);

// A read-only memory map of a file; unmapped on destruction.
class MappedFile {
 public:
  MappedFile() = default;
  // Throws IoError where the file cannot be opened or mapped. An empty file gives an empty span.
  explicit MappedFile(const fs::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // Takes a part's pages out of this process's memory; who looks at it again reads it again.
  void forget(std::span<const std::byte> part) const;
  const fs::path& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  fs::path path_;
};

// The absolute path that a rename can put a directory at: links followed, no mount point. Throws
// ConfigError where it is a mount point or a link to nothing.
fs::path resolved_output(const fs::path& given);

// Gives a file a second name, or, where the file system has no hard links, another one. Throws
// ResourceError.
void link_or_move(const fs::path& from, const fs::path& to);

// A directory that this process alone may write to. The lock (flock) ends with the object, or with
// the process, however that ends; where the file system has no locks there is none.
class DirectoryLock {
 public:
  // Makes the directory where it is missing. `output` is the name for messages. Throws
  // ResourceError where another process holds it or it cannot be made.
  DirectoryLock(const fs::path& directory, const fs::path& output);
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  // Removes the directory if it is empty: then nothing came of it.
  ~DirectoryLock();

 private:
  fs::path directory_;
  int descriptor_ = -1;
};

// A directory that appears under its final name only when it is complete: files are written to
// `staging()`, beside it and locked, `commit()` fsyncs them and renames. Destroyed without commit,
// the staging folder is removed; what a killed process left of one is removed by the next.
class AtomicDirectory {
 public:
  // `final_path` must not exist, be an empty directory, or (with `replace`) may be replaced at
  // commit. Throws ConfigError where it exists and may not be replaced, is a mount point or a
  // dangling link; ResourceError where another process is writing it or it cannot be created.
  explicit AtomicDirectory(const fs::path& final_path, bool replace = false);
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  ~AtomicDirectory();

  const fs::path& staging() const { return staging_; }
  void commit();

 private:
  fs::path final_path_;
  fs::path staging_;
  bool replace_;
  bool committed_ = false;
  std::optional<DirectoryLock> lock_;
};

// Flushes a file's, or a directory's, content to the disk. Throws ResourceError.
void sync_path(const fs::path& path);

// Throws ResourceError where the file system of `path` has fewer than `bytes` free.
void require_disk_space(const fs::path& path, std::int64_t bytes);

}  // namespace corda::core
