// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The corda authors
// What the user of a run can do where its memory is too small.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "corda/train/settings.h"

namespace corda::train {

// Imperative, for the end of a message: the settings that would take less memory, and which of them
// `--resume` allows. `settings` say what the run has become ("fused", not "auto"); `sample` and
// `batch` are the tokens of the longest sample and of the largest forward pass.
std::string memory_advice(const TrainSettings& settings, at::Device device, std::int64_t sample,
                          std::int64_t batch);

}  // namespace corda::train
