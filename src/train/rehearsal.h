// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// A step like those of a training, done before them on another thread, so that a GPU has loaded
// their kernels when the first one asks for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "corda/model/description.h"
#include "corda/train/settings.h"

namespace corda::train {

// What a rehearsed step came to. With weights of zero all tokens are equally likely, so the loss is
// the logarithm of the vocabulary's size and no factor has a gradient.
struct Rehearsed {
  double loss = 0;  // mean over the targets
  double grad_norm = 0;
};

// One step, forward, backward and optimizer, of the fused pass on the first block of the model,
// with embedding and head, weights of zero and micro-batches of the size that the settings allow;
// behind it the gradients of smaller batches, of the sizes that `tuning_cache` keeps algorithms
// for. Reads no other file, and tries no algorithm anew. Changes nothing of the run's: no random
// generator, no file; its memory is given back. Waits for the device.
Rehearsed rehearse(const TrainSettings& settings, const model::ModelDescription& described,
                   at::Device device);

// The rehearsal that a run has beside the reading of its files; empty where it has none: on a CPU,
// where the pass is not the fused one over dense weights, and where model and rehearsal together
// would take more than half of the GPU's free memory.
std::function<void()> rehearsal_of(const TrainSettings& settings,
                                   const model::ModelDescription& described, at::Device device);

}  // namespace corda::train
