// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "core/reserved_space.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "corda/core/error.h"
#include "corda/core/file.h"

namespace corda::core {

ReservedSpace::ReservedSpace(std::filesystem::path file, std::int64_t bytes)
    : file_(std::move(file)) {
  release();
  require_disk_space(file_, bytes);
  const int descriptor = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) throw_output_error("create", file_, errno);
  // posix_fallocate would write zeros where the file system has no such call, so it is not used.
  const int code = ::fallocate(descriptor, 0, 0, bytes) == 0 ? 0 : errno;
  ::close(descriptor);
  if (code == 0) return;
  release();
  if (code != EOPNOTSUPP && code != ENOSYS) throw_output_error("set space apart in", file_, code);
}

void ReservedSpace::release() noexcept {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

}  // namespace corda::core
