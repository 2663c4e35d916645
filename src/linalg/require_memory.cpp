// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#include "corda/linalg/require_memory.h"

#include "corda/core/room.h"
#include "corda/linalg/device.h"

namespace corda::linalg {

void require_memory(at::Device device, const std::string& what, std::int64_t bytes,
                    const std::string& advice) {
  core::require_memory(
      what, bytes, device.is_cuda() ? "the memory of " + describe(device) : "the machine's memory",
      free_memory_bytes(device), advice);
}

}  // namespace corda::linalg
