// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// How many damaged inputs a fuzz test tries.
#pragma once

#include <cstdlib>

namespace corda::testing {

// What the environment says in CORDA_FUZZ_ROUNDS, else `usual`.
inline int fuzz_rounds(int usual) {
  const char* given = std::getenv("CORDA_FUZZ_ROUNDS");
  return given != nullptr ? std::atoi(given) : usual;
}

}  // namespace corda::testing
