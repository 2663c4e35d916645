// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/core/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/room.h"
#include "core/unfinished_file.h"

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

[[noreturn]] void throw_input_error(const char* doing, const fs::path& path, int code) {
  throw IoError(concat("cannot ", doing, " '", path.string(), "': ", std::strerror(code)));
}

std::size_t regular_file_size(const Descriptor& file, const fs::path& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) throw_input_error("examine", path, errno);
  if (!S_ISREG(info.st_mode)) throw IoError(concat("'", path.string(), "' is not a regular file"));
  return static_cast<std::size_t>(info.st_size);
}

void write_all(const Descriptor& file, std::string_view content, const fs::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      throw_output_error("write", path, errno);
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

bool can_name_file(std::string_view name) {
  return !name.empty() && !name.starts_with('.') && name.find('/') == std::string_view::npos;
}

std::string why_absent(const fs::path& directory, std::string_view file) {
  std::error_code ignored;
  if (!fs::exists(directory, ignored)) return "it does not exist";
  if (!fs::is_directory(directory, ignored)) return "it is no directory";
  return concat("it holds no ", file);
}

void throw_output_error(const char* doing, const fs::path& path, int code) {
  const bool full = code == ENOSPC || code == EDQUOT || code == EFBIG;
  throw ResourceError(concat("cannot ", doing, " '", path.string(), "': ", std::strerror(code),
                             full ? "; free some space or" : ";", " write somewhere else"));
}

std::string read_file(const fs::path& path, std::int64_t max_bytes) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_input_error("open", path, errno);
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
    if (got < 0) throw_input_error("read", path, errno);
    if (got == 0) throw IoError(concat("'", path.string(), "' became shorter while it was read"));
    done += static_cast<std::size_t>(got);
  }
  return content;
}

void sync_path(const fs::path& path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_output_error("open", path, errno);
  if (::fsync(file.get()) != 0 && errno != EINVAL) throw_output_error("flush", path, errno);
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  const fs::path temporary = path.string() + concat(kUnfinished, ::getpid());
  {
    const Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.get() < 0) throw_output_error("create", path, errno);
    try {
      write_all(file, content, path);
      if (::fsync(file.get()) != 0) throw_output_error("flush", path, errno);
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::unlink(temporary.c_str());
    throw_output_error("create", path, code);
  }
  sync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

MappedFile::MappedFile(const fs::path& path) : path_(path) {
  const Descriptor file(path, O_RDONLY);
  if (file.get() < 0) throw_input_error("open", path, errno);
  size_ = regular_file_size(file, path);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) throw_input_error("map", path, errno);
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

void MappedFile::forget(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - data_);
  const std::size_t begin = offset / page * page;
  // The pages are the file's own, so a failure costs nothing but memory, nor does what stands
  // beside the part on its first and last page.
  ::madvise(const_cast<std::byte*>(data_) + begin, offset + part.size() - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

namespace {

// Whether the path still names the open directory: another process may have removed or renamed it.
bool is_still_at(int descriptor, const fs::path& directory) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(directory.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

fs::path resolved_output(const fs::path& given) {
  fs::path path = fs::absolute(given).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    const fs::path target = fs::canonical(path, error);
    if (error)
      throw ConfigError(concat("the output '", path.string(),
                               "' is a symbolic link to nothing; write somewhere else"));
    path = target;
  }
  struct stat self {};
  struct stat parent {};
  if (::stat(path.c_str(), &self) == 0 && ::stat(path.parent_path().c_str(), &parent) == 0 &&
      (self.st_dev != parent.st_dev || self.st_ino == parent.st_ino)) {
    throw ConfigError(
        concat("the output '", path.string(), "' is a mount point; write to a folder below it"));
  }
  return path;
}

void link_or_move(const fs::path& from, const fs::path& to) {
  if (::link(from.c_str(), to.c_str()) == 0 || ::rename(from.c_str(), to.c_str()) == 0) return;
  throw_output_error("create", to, errno);
}

DirectoryLock::DirectoryLock(const fs::path& directory, const fs::path& output)
    : directory_(directory) {
  constexpr int kAttempts = 100;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) throw_output_error("create", directory, error.value());
    descriptor_ = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor_ < 0 && errno == ENOENT) continue;
    if (descriptor_ < 0) throw_output_error("open", directory, errno);
    const bool busy = ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!busy && is_still_at(descriptor_, directory)) return;
    ::close(std::exchange(descriptor_, -1));
    if (busy) break;
  }
  throw ResourceError(concat("another process is writing '", output.string(),
                             "'; wait until it ends or write somewhere else"));
}

DirectoryLock::~DirectoryLock() {
  if (is_still_at(descriptor_, directory_)) ::rmdir(directory_.c_str());
  ::close(descriptor_);
}

AtomicDirectory::AtomicDirectory(const fs::path& final_path, bool replace)
    : final_path_(resolved_output(final_path)), replace_(replace) {
  std::error_code error;
  if (fs::exists(final_path_, error) && !replace_) {
    const bool empty = fs::is_directory(final_path_, error) && fs::is_empty(final_path_, error);
    if (!empty) {
      throw ConfigError(
          concat("the output '", final_path_.string(),
                 "' already exists and is not empty; remove it or write somewhere else"));
    }
  }
  staging_ = final_path_.string() + ".corda-partial";
  lock_.emplace(staging_, final_path_);
  for (const auto& left : fs::directory_iterator(staging_, error)) {
    fs::remove_all(left, error);
    if (error) break;
  }
  if (error) throw_output_error("empty", staging_, error.value());
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
      fs::remove(final_path_, error);  // removes nothing but an empty directory
    }
    if (error) throw_output_error("replace", final_path_, error.value());
  }
  fs::rename(staging_, final_path_, error);
  if (error) throw_output_error("create", final_path_, error.value());
  committed_ = true;
  sync_path(final_path_.parent_path());
  if (!old.empty()) fs::remove_all(old, error);
}

void require_disk_space(const fs::path& path, std::int64_t bytes) {
  require_disk_space(path, bytes, "");
}

}  // namespace corda::core
