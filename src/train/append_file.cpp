// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "train/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda::train {

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor_ < 0) core::throw_output_error("open", path_, errno);
  size_ = static_cast<std::int64_t>(std::filesystem::file_size(path_));
}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool AppendFile::append(std::string_view entry) {
  waiting_ += entry;
  return flush();
}

bool AppendFile::flush() {
  std::size_t done = 0;
  while (done < waiting_.size()) {
    const ssize_t written = ::write(descriptor_, waiting_.data() + done, waiting_.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      error_ = errno;
      // A part of an entry would make the file unreadable.
      [[maybe_unused]] const int cut = ::ftruncate(descriptor_, size_);
      return false;
    }
    done += static_cast<std::size_t>(written);
  }
  size_ += static_cast<std::int64_t>(done);
  waiting_.clear();
  return true;
}

std::string AppendFile::why() const {
  return core::concat("cannot write '", path_.string(), "': ", std::strerror(error_));
}

}  // namespace corda::train
