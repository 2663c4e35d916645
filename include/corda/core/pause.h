// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// The pauses of whoever looks again and again for something that comes some time.
#pragma once

#include <algorithm>
#include <chrono>

namespace corda::core {

// How long to wait before looking again where nothing has come since `since`: an eighth of the time
// from then on, from `shortest` to 20 ms, so that a short wait ends soon and a long one asks
// seldom.
inline std::chrono::steady_clock::duration pause_since(
    std::chrono::steady_clock::time_point since, std::chrono::steady_clock::duration shortest) {
  constexpr int kShare = 8;
  constexpr std::chrono::steady_clock::duration kLongest = std::chrono::milliseconds(20);
  return std::clamp((std::chrono::steady_clock::now() - since) / kShare, shortest, kLongest);
}

}  // namespace corda::core
