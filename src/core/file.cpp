// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>
#include <vector>

#include "corda/core/error.h"

namespace corda::core {

namespace {

class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags, mode_t mode = 0644)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void throw_errno(const char* doing, const fs::path& path, int code) {
  const std::string message =
      concat("cannot ", doing, " '", path.string(), "': ", std::strerror(code));
  if (code == ENOSPC || code == EDQUOT || code == EFBIG) {
    throw ResourceError(concat(message, "; free some space or choose another --out"));
  }
  throw IoError(message);
}

std::size_t regular_file_size(const Descriptor& file, const fs::path& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw_errno("examine", path, errno);
  if (!S_ISREG(info.st_mode)) throw IoError(concat("'", path.string(), "' is not a regular file"));
  return static_cast<std::size_t>(info.st_size);
}

void write_all(const Descriptor& file, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_errno("write", path, errno);
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

std::string read_file(const fs::path& path, std::int64_t max_bytes) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_errno("open", path, errno);
  const std::size_t size = regular_file_size(file, path);
  if (size > static_cast<std::size_t>(max_bytes)) {
    throw IoError(concat("'", path.string(), "' has ", size, " bytes, more than the ", max_bytes,
                         " this kind of file may have"));
  }
  std::string content(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), content.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_errno("read", path, errno);
    if (got == 0) throw IoError(concat("'", path.string(), "' became shorter while it was read"));
    done += static_cast<std::size_t>(got);
  }
  return content;
}

void sync_path(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_errno("open", path, errno);
  if (::fsync(file.get()) != 0 && errno != EINVAL) throw_errno("flush", path, errno);
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  const fs::path temporary = path.string() + concat(".tmp-", ::getpid());
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.get() < 0) throw_errno("create", temporary, errno);
    try {
      write_all(file, content, path);
      if (::fsync(file.get()) != 0) throw_errno("flush", path, errno);
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    throw_errno("create", path, code);
  }
  sync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_errno("open", path, errno);
  size_ = regular_file_size(file, path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw_errno("map", path, errno);
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

AtomicDirectory::AtomicDirectory(fs::path final_path, bool replace)
    : final_path_(fs::absolute(final_path).lexically_normal()), replace_(replace) {
  if (!final_path_.has_filename()) final_path_ = final_path_.parent_path();
  std::error_code ignored;
  if (fs::exists(final_path_, ignored) && !replace_) {
    const bool empty = fs::is_directory(final_path_, ignored) && fs::is_empty(final_path_, ignored);
    if (!empty) {
      throw ConfigError(
          concat("the output '", final_path_.string(),
                 "' already exists and is not empty; remove it or choose another --out"));
    }
  }
  staging_ = final_path_.string() + concat(".tmp-", ::getpid());
  std::error_code error;
  fs::remove_all(staging_, error);
  fs::create_directories(staging_, error);
  if (error) throw IoError(concat("cannot create '", staging_.string(), "': ", error.message()));
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!committed_) fs::remove_all(staging_, ignored);
}

void AtomicDirectory::commit() {
  for (const auto& entry : fs::recursive_directory_iterator(staging_)) sync_path(entry.path());
  sync_path(staging_);
  std::error_code error;
  fs::path old;
  if (fs::exists(final_path_, error)) {
    if (replace_) {
      old = final_path_.string() + concat(".old-", ::getpid());
      fs::rename(final_path_, old, error);
    } else {
      fs::remove(final_path_, error);  // only ever an empty directory
    }
    if (error)
      throw IoError(concat("cannot replace '", final_path_.string(), "': ", error.message()));
  }
  fs::rename(staging_, final_path_, error);
  if (error) throw IoError(concat("cannot create '", final_path_.string(), "': ", error.message()));
  committed_ = true;
  sync_path(final_path_.parent_path());
  if (!old.empty()) fs::remove_all(old, error);
}

void require_disk_space(const fs::path& path, std::int64_t bytes) {
  fs::path existing = fs::absolute(path);
  std::error_code error;
  while (!fs::exists(existing, error) && existing.has_relative_path())
    existing = existing.parent_path();
  const auto space = fs::space(existing, error);
  if (!error && space.available < static_cast<std::uintmax_t>(bytes)) {
    throw ResourceError(concat("'", path.string(), "' needs ", bytes, " bytes but its disk has ",
                               space.available, " free; free some space or choose another --out"));
  }
}

}  // namespace corda::core
