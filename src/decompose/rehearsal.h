// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// Layers like those of a decomposition, solved before them on another thread, so that a GPU has
// loaded their kernels when the first one asks for them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "corda/decompose/decompose.h"

namespace corda::decompose {

// A site of made-up numbers, with a square layer and a wide one of so many inputs, by the settings'
// mode. By default they are large enough for the fast routes, with the kernels that libraries take
// for a model's layers; those solve them in some milliseconds. Changes nothing of the run's: no
// random generator, no file. Waits for the device. Throws what the mode throws.
void rehearse(const DecomposeSettings& settings, at::Device device, std::int64_t inputs = 1024);

}  // namespace corda::decompose
