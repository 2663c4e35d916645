// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// An error that does not know its line yet; Template adds name and line.
#pragma once

#include <stdexcept>
#include <string>

#include "corda/core/error.h"

namespace corda::jinja {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <typename... Args>
[[noreturn]] void fail(const Args&... args) {
  throw Failure(core::concat(args...));
}

}  // namespace corda::jinja
