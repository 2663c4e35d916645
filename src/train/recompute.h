// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the hand-written backward computes again to save memory.
#pragma once

namespace corda::train {

// What is computed again in the backward instead of being kept.
enum class Recompute {
  kNone,       // nothing
  kSelective,  // gate and up, nearly half of what a block keeps
  kBlock       // all of a block but its input
};

}  // namespace corda::train
