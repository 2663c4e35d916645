// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/decompress.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <utility>

#include "corda/core/checked.h"
#include "corda/core/error.h"

namespace corda::data {

namespace {

constexpr std::size_t kInputBytes = 65536;
constexpr std::size_t kMagicBytes = 4;

// Gives bytes that were already taken from `inner`, then the rest of it.
class PrefixedSource : public ByteSource {
 public:
  PrefixedSource(std::string prefix, std::unique_ptr<ByteSource> inner)
      : prefix_(open_memory(std::move(prefix))), inner_(std::move(inner)) {}

  std::size_t read(char* buffer, std::size_t size) override {
    const std::size_t got = prefix_->read(buffer, size);
    return got > 0 ? got : inner_->read(buffer, size);
  }

 private:
  std::unique_ptr<ByteSource> prefix_;
  std::unique_ptr<ByteSource> inner_;
};

// Several gzip members one after the other are one stream, as gzip itself reads them.
class GunzipSource : public ByteSource {
 public:
  GunzipSource(std::unique_ptr<ByteSource> inner, std::string name, UnpackLimits limits)
      : inner_(std::move(inner)), name_(std::move(name)), limits_(limits) {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK) {
      throw core::ResourceError("zlib could not be started; is memory short?");
    }
  }
  GunzipSource(const GunzipSource&) = delete;
  GunzipSource& operator=(const GunzipSource&) = delete;
  ~GunzipSource() override { inflateEnd(&stream_); }

  std::size_t read(char* buffer, std::size_t size) override {
    const auto wanted = static_cast<uInt>(std::min<std::size_t>(size, std::size_t{1} << 30));
    stream_.next_out = reinterpret_cast<Bytef*>(buffer);
    stream_.avail_out = wanted;
    while (stream_.avail_out == wanted && wanted > 0) {
      if (stream_.avail_in == 0 && !refill()) break;
      inflate_some();
    }
    const std::size_t got = wanted - stream_.avail_out;
    produced_ += static_cast<std::int64_t>(got);
    check_ratio(produced_, consumed_, limits_, name_, "gzip");
    return got;
  }

 private:
  // Reads on; false at the end of the file, which must also be the end of a member.
  bool refill() {
    const std::size_t got = inner_->read(input_.data(), input_.size());
    if (got == 0) {
      if (!between_members_) {
        throw core::FormatError(
            core::concat(name_, ": the gzip stream ends too early; the file is truncated"));
      }
      return false;
    }
    consumed_ += static_cast<std::int64_t>(got);
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(got);
    return true;
  }

  void inflate_some() {
    if (std::exchange(between_members_, false)) inflateReset(&stream_);
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      between_members_ = true;
    } else if (status == Z_MEM_ERROR) {
      throw core::ResourceError(core::concat(name_, ": not enough memory to decompress"));
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      throw core::FormatError(
          core::concat(name_, ": the gzip stream is damaged: ",
                       stream_.msg != nullptr ? stream_.msg : "unknown reason"));
    }
  }

  std::unique_ptr<ByteSource> inner_;
  std::string name_;
  UnpackLimits limits_;
  z_stream stream_{};
  std::array<char, kInputBytes> input_;
  std::int64_t consumed_ = 0;
  std::int64_t produced_ = 0;
  bool between_members_ = false;
};

}  // namespace

void check_ratio(std::int64_t produced, std::int64_t consumed, const UnpackLimits& limits,
                 const std::string& name, const char* kind) {
  if (produced <= limits.free_bytes || produced / limits.max_ratio <= consumed) return;
  throw core::FormatError(
      core::concat(name, ": the ", kind, " stream expands more than ", limits.max_ratio,
                   " times, which text never does; decompress it by hand if it is meant"));
}

std::unique_ptr<ByteSource> unpack_if_compressed(std::unique_ptr<ByteSource> inner,
                                                 std::string name, UnpackLimits limits) {
  std::string head(kMagicBytes, '\0');
  std::size_t got = 0;
  while (got < kMagicBytes) {
    const std::size_t more = inner->read(head.data() + got, kMagicBytes - got);
    if (more == 0) break;
    got += more;
  }
  head.resize(got);
  auto whole = std::make_unique<PrefixedSource>(head, std::move(inner));
  if (head == "\x28\xb5\x2f\xfd") return unzstd(std::move(whole), std::move(name), limits);
  if (!head.starts_with("\x1f\x8b")) return whole;
  return std::make_unique<GunzipSource>(std::move(whole), std::move(name), limits);
}

}  // namespace corda::data
