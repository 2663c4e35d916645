// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Memory that encoding needs and may keep between calls; one thread uses it at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "corda/core/error.h"
#include "regex.h"
#include "word_cache.h"

namespace corda::tokenizer {

// A part of the text on its way to ids.
struct Piece {
  std::string_view text;
  TokenId id = -1;  // an added token, already recognised
  // Leading bytes that the first character of the original text became; may be more than `text`
  // has. The reference asks whether a piece begins there.
  std::size_t first_bytes = 0;
  // Whether it began there before it was normalized: what a pattern then puts in front of
  // everything stands there, even where the first character was taken away.
  bool from_beginning = false;

  bool at_beginning() const { return first_bytes > 0; }
  // The leading bytes that are there.
  std::string_view head() const { return text.substr(0, first_bytes); }
  // Bytes [begin, end) as a piece of their own.
  Piece part(std::size_t begin, std::size_t end, TokenId token = -1) const {
    return {.text = text.substr(begin, end - begin),
            .id = token,
            .first_bytes = first_bytes > begin ? first_bytes - begin : 0};
  }
};

struct Scratch {
  std::pmr::monotonic_buffer_resource arena{std::size_t{1} << 16};
  RegexScratch regex;
  WordCache words;
  std::vector<Piece> pieces;
  std::vector<Piece> spare;

  // A tokenizer file may write long texts in place of short ones, again and again: what one call
  // makes of `text_bytes` is bounded.
  void begin(std::size_t text_bytes) {
    used_ = 0;
    allowed_ = kAllowed + 64 * text_bytes;
  }
  // Throws ResourceError where another `bytes` are more than that.
  void require(std::size_t bytes) const {
    if (bytes <= allowed_ - used_) return;
    throw core::ResourceError(
        core::concat("normalizing makes more than ", allowed_, " bytes of this text"));
  }
  // A copy of `text` that lives until the end of the call. Throws ResourceError as require().
  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    require(text.size());
    used_ += text.size();
    auto* copy = static_cast<char*>(arena.allocate(text.size(), 1));
    text.copy(copy, text.size());
    return {copy, text.size()};
  }

 private:
  static constexpr std::size_t kAllowed = std::size_t{64} << 20;

  std::size_t used_ = 0;
  std::size_t allowed_ = kAllowed;
};

// Lends scratch memory to threads; holds as many as were ever in use at once.
class ScratchPool {
 public:
  class Lease {
   public:
    explicit Lease(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.put(std::move(scratch_)); }
    Scratch& operator*() const { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<Scratch> scratch_;
  };

 private:
  std::unique_ptr<Scratch> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<Scratch> scratch = std::move(idle_.back());
        idle_.pop_back();
        return scratch;
      }
    }
    auto fresh = std::make_unique<Scratch>();
    const std::lock_guard lock(mutex_);
    idle_.reserve(++made_);  // so that put() cannot fail
    return fresh;
  }
  void put(std::unique_ptr<Scratch> scratch) noexcept {
    scratch->arena.release();
    scratch->pieces.clear();
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch));
  }

  std::mutex mutex_;
  std::size_t made_ = 0;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace corda::tokenizer
