// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace corda::core {

// A variable of the process's environment, nullopt where it is not set.
inline std::optional<std::string> environment_variable(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

}  // namespace corda::core
