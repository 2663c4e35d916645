// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <zstd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "corda/core/error.h"
#include "data/decompress.h"

namespace corda::data {

namespace {

// Several frames one after the other are one stream, as zstd itself reads them.
class ZstdSource : public ByteSource {
 public:
  ZstdSource(std::unique_ptr<ByteSource> inner, std::string name, UnpackLimits limits)
      : inner_(std::move(inner)),
        name_(std::move(name)),
        limits_(limits),
        stream_(ZSTD_createDStream()) {
    if (!stream_) throw core::ResourceError("zstd could not be started; is memory short?");
  }

  std::size_t read(char* buffer, std::size_t size) override {
    ZSTD_outBuffer out{.dst = buffer, .size = size, .pos = 0};
    while (out.pos == 0 && size > 0) {
      if (in_.pos == in_.size && drained_ && !refill()) break;
      const std::size_t status = ZSTD_decompressStream(stream_.get(), &out, &in_);
      if (ZSTD_isError(status) != 0) {
        throw core::FormatError(
            core::concat(name_, ": the zstd stream is damaged: ", ZSTD_getErrorName(status)));
      }
      between_frames_ = status == 0;
      drained_ = out.pos < out.size;  // where the buffer is full, zstd may hold more
    }
    produced_ += static_cast<std::int64_t>(out.pos);
    check_ratio(produced_, consumed_, limits_, name_, "zstd");
    return out.pos;
  }

 private:
  struct Free {
    void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
  };

  // Reads on; false at the end of the file, which must also be the end of a frame.
  bool refill() {
    const std::size_t got = inner_->read(input_.data(), input_.size());
    if (got == 0 && !between_frames_) {
      throw core::FormatError(
          core::concat(name_, ": the zstd stream ends too early; the file is truncated"));
    }
    consumed_ += static_cast<std::int64_t>(got);
    in_ = {.src = input_.data(), .size = got, .pos = 0};
    return got > 0;
  }

  std::unique_ptr<ByteSource> inner_;
  std::string name_;
  UnpackLimits limits_;
  std::unique_ptr<ZSTD_DStream, Free> stream_;
  std::array<char, 65536> input_;
  ZSTD_inBuffer in_{};
  std::int64_t consumed_ = 0;
  std::int64_t produced_ = 0;
  bool between_frames_ = false;
  bool drained_ = true;
};

}  // namespace

std::unique_ptr<ByteSource> unzstd(std::unique_ptr<ByteSource> inner, std::string name,
                                   UnpackLimits limits) {
  return std::make_unique<ZstdSource>(std::move(inner), std::move(name), limits);
}

}  // namespace corda::data
