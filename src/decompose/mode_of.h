// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What settings say about the mode.
#pragma once

#include <string>

#include "corda/decompose/decompose.h"
#include "corda/decompose/mode.h"

namespace corda::decompose {

// The row of method and mode, which are of the lists' choices.
const Mode& mode_of(const DecomposeSettings& settings);

// equal, explained or compact; auto is what the mode's paper does.
std::string ranks_of(const DecomposeSettings& settings);

// "mode kpa", "method pissa".
std::string title_of(const Mode& mode);

// Throws ConfigError for settings that do not go together, all of them named.
void check(const DecomposeSettings& settings);

}  // namespace corda::decompose
