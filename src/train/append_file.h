// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A file that grows by whole entries, also on a disk that is full for a while.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace corda::train {

// Entries that the disk has no room for wait in memory, and are written with a later one.
class AppendFile {
 public:
  // Opens a file that is there. Throws ResourceError.
  explicit AppendFile(std::filesystem::path path);
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  // Whether all entries so far are in the file.
  bool append(std::string_view entry);
  bool flush();
  // Why the last call failed, in words.
  std::string why() const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;  // of the whole entries in the file
  std::string waiting_;
  int error_ = 0;
};

}  // namespace corda::train
