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

// Throws ResourceError where the run directory's disk has no room for the result. Warns where it
// has none for a checkpoint beside it.
void require_disk(const TrainSettings& settings, Trainable& shapes, core::Reporter& reporter);
// Throws ResourceError where `device` has no room for the state of one of `ranks` ranks, or a CPU
// for those of the `ranks_here` ranks of its machine.
void require_memory(const TrainSettings& settings, Trainable& shapes, at::Device device, int ranks,
                    int ranks_here);
// Both for a run, on all ranks where one of them throws.
void require_room(const TrainSettings& settings, Trainable& shapes, dist::World& world,
                  core::Reporter& reporter);

}  // namespace corda::train
