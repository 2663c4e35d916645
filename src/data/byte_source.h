// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Sources of bytes: a file, memory, or either through gzip or zstd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace corda::data {

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Fills up to `size` bytes and returns how many; 0 means the end. Throws IoError or FormatError.
  virtual std::size_t read(char* buffer, std::size_t size) = 0;
};

// A file, or anything else that can be read once from the front (a pipe). Throws IoError.
std::unique_ptr<ByteSource> open_file(const std::filesystem::path& path);

// A text held in memory, given out in pieces of at most `piece` bytes.
std::unique_ptr<ByteSource> open_memory(std::string content, std::size_t piece = 65536);

// Bounds a decompressed stream: past `free_bytes` it may be at most `max_ratio` times its
// compressed size.
struct UnpackLimits {
  std::int64_t free_bytes = std::int64_t{64} << 20;
  std::int64_t max_ratio = 200;
};

// `inner` itself, or its decompressed content where it begins with the magic bytes of gzip or zstd.
// `name` is for messages. Reading throws FormatError for a damaged or truncated stream and for one
// that expands beyond `limits`.
std::unique_ptr<ByteSource> unpack_if_compressed(std::unique_ptr<ByteSource> inner,
                                                 std::string name, UnpackLimits limits = {});

}  // namespace corda::data
