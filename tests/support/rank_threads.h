// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Ranks that are threads of a test, over Gloo.
#pragma once

#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "support/temporary_directory.h"

namespace corda::testing {

// Runs `work` as every one of `size` ranks.
inline void as_ranks(int size, const std::function<void(dist::World& world)>& work) {
  ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/1);  // before the threads, which would
  const TemporaryDirectory folder;
  const std::string file = (folder.path() / "meeting").string();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const core::Reporter quiet;
      const auto world = dist::join(
          {.launcher = "a test", .rank = rank, .size = size, .file = file, .start = "one"}, quiet);
      work(*world);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace corda::testing
