// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Random windows out of a long stream of tokens, which is read twice where it is too long to be
// held.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "corda/data/sample.h"

namespace corda::data {

class WindowDraw {
 public:
  using Sink = std::function<void(std::span<const TokenId>)>;
  // Gives all tokens to the sink, the same ones every time.
  using Read = std::function<void(const Sink&)>;

  static constexpr std::int64_t kHeld = std::int64_t{1} << 26;  // tokens: 256 MB

  // Reads the stream once: up to `held` tokens are kept, more are only counted.
  explicit WindowDraw(Read read, std::int64_t held = kHeld);

  std::int64_t total() const { return total_; }
  // The `length` tokens from each of `starts`, in their order. Throws IoError where a second
  // reading gives another number of tokens.
  std::vector<std::vector<TokenId>> windows(const std::vector<std::int64_t>& starts,
                                            std::int64_t length) const;

 private:
  Read read_;
  std::vector<TokenId> ids_;
  std::int64_t total_ = 0;
  bool whole_ = true;  // ids_ holds the whole stream
};

}  // namespace corda::data
