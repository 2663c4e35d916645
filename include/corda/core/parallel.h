// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Independent pieces of work on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace corda::core {

// Calls `work(i)` for 0 <= i < count on at most `threads` threads, of which the calling one is one;
// runs of `run` neighbours are taken at a time. Where calls throw, the others are abandoned and the
// error of the smallest i is thrown, whatever the threads did. Throws ConfigError for `threads`
// below 1.
void parallel_for(std::int64_t count, std::int64_t threads, std::int64_t run,
                  const std::function<void(std::int64_t)>& work);

// `threads`, or for 0 as many as the machine runs at once.
std::int64_t thread_count(std::int64_t threads);

}  // namespace corda::core
