// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/byte_source.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "corda/core/error.h"

namespace corda::data {

namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class FileSource : public ByteSource {
 public:
  explicit FileSource(const std::filesystem::path& path) : name_(path.string()) {
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored)) {
      throw core::IoError(core::concat("'", name_, "' is a directory; a data file was expected"));
    }
    file_.reset(std::fopen(path.c_str(), "rbe"));
    if (!file_)
      throw core::IoError(core::concat("cannot open '", name_, "': ", std::strerror(errno)));
  }

  std::size_t read(char* buffer, std::size_t size) override {
    const std::size_t got = std::fread(buffer, 1, size, file_.get());
    if (got == 0 && std::ferror(file_.get()) != 0) {
      throw core::IoError(core::concat("cannot read '", name_, "': ", std::strerror(errno)));
    }
    return got;
  }

 private:
  std::string name_;
  std::unique_ptr<std::FILE, CloseFile> file_;
};

class MemorySource : public ByteSource {
 public:
  MemorySource(std::string content, std::size_t piece)
      : content_(std::move(content)), piece_(piece) {}

  std::size_t read(char* buffer, std::size_t size) override {
    const std::size_t got = std::min({size, piece_, content_.size() - done_});
    std::copy_n(content_.data() + done_, got, buffer);
    done_ += got;
    return got;
  }

 private:
  std::string content_;
  std::size_t piece_;
  std::size_t done_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> open_file(const std::filesystem::path& path) {
  return std::make_unique<FileSource>(path);
}

std::unique_ptr<ByteSource> open_memory(std::string content, std::size_t piece) {
  return std::make_unique<MemorySource>(std::move(content), piece);
}

}  // namespace corda::data
