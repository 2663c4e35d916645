// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Which device a `--device` setting means.
#pragma once

#include <c10/core/Device.h>

#include <string>

namespace corda::linalg {

// "auto" (the first GPU where there is one, else the CPU), "cpu", "cuda" or "cuda:N".
// Throws ConfigError for any other word, ResourceError where that GPU does not exist.
c10::Device device_of(const std::string& name);

}  // namespace corda::linalg
