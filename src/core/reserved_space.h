// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Room on a disk for what is written at the end of hours of work.
#pragma once

#include <cstdint>
#include <filesystem>

namespace corda::core {

// A file that holds `bytes` of disk space until it is released. One that a killed process left at
// the same path is taken over.
class ReservedSpace {
 public:
  // Throws ResourceError where the disk has not so much free. On a file system that cannot set
  // space apart it is only looked for.
  ReservedSpace(std::filesystem::path file, std::int64_t bytes);
  ReservedSpace(const ReservedSpace&) = delete;
  ReservedSpace& operator=(const ReservedSpace&) = delete;
  ~ReservedSpace() { release(); }

  // Removes the file.
  void release() noexcept;

 private:
  std::filesystem::path file_;
};

}  // namespace corda::core
