// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace corda::linalg {

// Throws ResourceError where `bytes` of the device's memory are not free (core::require_memory).
void require_memory(at::Device device, const std::string& what, std::int64_t bytes,
                    const std::string& advice);

}  // namespace corda::linalg
