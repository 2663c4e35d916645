// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What settings say about the mode.
#pragma once

#include <string>

#include "corda/decompose/decompose.h"
#include "corda/decompose/mode.h"

namespace corda::decompose {

// The row of modes() that the settings' method and mode name; both must be choices of the settings'
// list.
const Mode& mode_of(const DecomposeSettings& settings);

// How layers come to their ranks: equal, explained or compact. For auto it is what the mode's paper
// does.
std::string ranks_of(const DecomposeSettings& settings);

// What a message calls the mode: "mode kpa", "method pissa".
std::string title_of(const Mode& mode);

}  // namespace corda::decompose
