// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Whether memory and disk have room for a run, before its weights are read.
#pragma once

#include "corda/core/reporter.h"
#include "corda/dist/world.h"
#include "corda/train/settings.h"
#include "train/trainable.h"

namespace corda::train {

// Bytes of weights, of what is trained, its gradients and moments, as one rank holds them;
// activations come beside them.
std::int64_t state_bytes(Trainable& trainable);

// Throws ResourceError where this rank's memory has no room for its state, or, on rank 0, the run
// directory's disk none for the result. Warns where the disk has none for a checkpoint beside it.
void require_room(const TrainSettings& settings, Trainable& shapes, dist::World& world,
                  core::Reporter& reporter);

}  // namespace corda::train
