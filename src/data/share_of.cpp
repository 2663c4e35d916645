// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include <algorithm>
#include <numeric>

#include "corda/data/batch.h"

namespace corda::data {

std::vector<std::size_t> share_of(std::span<const std::int64_t> sizes, int rank, int ranks) {
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::int64_t> dealt(static_cast<std::size_t>(ranks), 0);
  std::vector<std::size_t> mine;
  for (const std::size_t i : order) {
    const auto least = std::min_element(dealt.begin(), dealt.end());
    *least += sizes[i];
    if (least - dealt.begin() == rank) mine.push_back(i);
  }
  std::sort(mine.begin(), mine.end());
  return mine;
}

}  // namespace corda::data
