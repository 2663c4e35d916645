// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the hand-written backward computes again to save memory.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace corda::train {

// What is computed again in the backward instead of being kept.
enum class Recompute {
  kNone,       // nothing
  kSelective,  // gate and up, nearly half of what a block keeps
  kBlock       // all of a block but its input
};

// none, selective, block: from the fastest to the smallest, as the setting `recompute` has them.
std::vector<std::string> recompute_names();
std::string name_of(Recompute recompute);
// Throws ConfigError for another word.
Recompute recompute_named(std::string_view name);

// What is computed again, for the log: "nothing", "gate and up", "every block".
std::string describe(Recompute recompute);

}  // namespace corda::train
