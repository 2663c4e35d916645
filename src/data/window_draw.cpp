// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "data/window_draw.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "corda/core/error.h"

namespace corda::data {

WindowDraw::WindowDraw(Read read, std::int64_t held) : read_(std::move(read)) {
  read_([&](std::span<const TokenId> ids) {
    total_ += static_cast<std::int64_t>(ids.size());
    whole_ = whole_ && total_ <= held;
    if (whole_) {
      ids_.insert(ids_.end(), ids.begin(), ids.end());
    } else {
      std::vector<TokenId>().swap(ids_);
    }
  });
}

std::vector<std::vector<TokenId>> WindowDraw::windows(const std::vector<std::int64_t>& starts,
                                                      std::int64_t length) const {
  std::vector<std::vector<TokenId>> result(starts.size());
  // Windows are sorted by place, so that only those that are being filled are looked at.
  std::vector<std::size_t> order(starts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return starts[a] < starts[b]; });
  std::size_t first = 0;  // in `order`: those before are full
  std::int64_t at = 0;
  const auto take = [&](std::span<const TokenId> ids) {
    const std::int64_t end = at + static_cast<std::int64_t>(ids.size());
    while (first < order.size() && starts[order[first]] + length <= at) ++first;
    for (std::size_t i = first; i < order.size() && starts[order[i]] < end; ++i) {
      const std::int64_t begin = starts[order[i]];
      const std::int64_t from = std::max(begin, at) - at;
      const std::int64_t to = std::min(begin + length, end) - at;
      if (from >= to) continue;
      const auto part =
          ids.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from));
      std::vector<TokenId>& window = result[order[i]];
      window.insert(window.end(), part.begin(), part.end());
    }
    at = end;
  };
  if (whole_) {
    take(ids_);
  } else {
    read_(take);
  }
  if (at != total_) {
    throw core::IoError(core::concat("the calibration data changed while they were read: ", total_,
                                     " tokens, then ", at));
  }
  return result;
}

}  // namespace corda::data
