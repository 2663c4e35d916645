// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Reading files whole or mapped, and writing them so that a half-written one is never seen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace corda::core {

namespace fs = std::filesystem;

// The whole content of a regular file. Throws IoError (missing, unreadable, larger than
// `max_bytes`).
std::string read_file(const fs::path& path, std::int64_t max_bytes = std::int64_t{1} << 31);

// Writes `path.tmp-*`, fsyncs it and renames it to `path`. Throws ResourceError (disk full) or
// IoError.
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
  const fs::path& path() const { return path_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  fs::path path_;
};

// A directory that appears under its final name only when it is complete: files are written to
// `staging()`, `commit()` fsyncs them and renames. Destroyed without commit, the staging folder is
// removed.
class AtomicDirectory {
 public:
  // `final_path` must not exist, be an empty directory, or (with `replace`) may be replaced at
  // commit. Throws ConfigError where it exists and may not be replaced, IoError where it cannot be
  // created.
  explicit AtomicDirectory(fs::path final_path, bool replace = false);
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
};

// Flushes a file's, or a directory's, content to the disk. Throws ResourceError or IoError.
void sync_path(const fs::path& path);

// Throws ResourceError where the file system of `path` has fewer than `bytes` free.
void require_disk_space(const fs::path& path, std::int64_t bytes);

}  // namespace corda::core
